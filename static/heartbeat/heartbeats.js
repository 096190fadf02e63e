// Conveniences of the pages of heartbeats, which work without them.
(() => {
  // One box ticks all boxes of a name.
  for (const all of document.querySelectorAll("input[data-ticks]")) {
    const boxes = Array.from(document.getElementsByName(all.dataset.ticks));
    const follow = () => {
      const ticked = boxes.filter((box) => box.checked).length;
      all.checked = ticked === boxes.length;
      all.indeterminate = ticked > 0 && ticked < boxes.length;
    };
    all.closest("label").hidden = false;
    all.addEventListener("change", () => boxes.forEach((box) => (box.checked = all.checked)));
    for (const box of boxes) box.addEventListener("change", follow);
    follow();
  }

  // A time to come counts down, and a time that has passed counts up.
  const words = (seconds) => {
    const parts = [
      [Math.floor(seconds / 86400), "d"],
      [Math.floor((seconds % 86400) / 3600), "h"],
      [Math.floor((seconds % 3600) / 60), "min"],
      [seconds % 60, "s"],
    ];
    const first = parts.findIndex(([number]) => number);
    return (first < 0 ? [parts[3]] : parts.slice(first, first + 2)).map(([number, unit]) => `${number} ${unit}`).join(" ");
  };
  const clocks = () => document.querySelectorAll("[data-counts-to]");
  // By the server's clock, which the page was made with.
  const first = clocks()[0];
  const ahead = first ? Date.parse(first.dataset.now) - Date.now() : 0;
  const count = () => {
    // Looked for each time: the part that holds it is renewed.
    for (const clock of clocks()) {
      const left = Math.round((Date.parse(clock.dataset.countsTo) - Date.now() - ahead) / 1000);
      clock.textContent = left >= 0 ? `in ${words(left)}` : `${words(-left)} ago`;
    }
  };
  if (first) setInterval(count, 1000);
})();
