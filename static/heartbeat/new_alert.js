// The page "New alert": search for recipients while a name is typed, and keep the preview up to date.
const form = document.querySelector("form[data-preview]");

if (form) {
  const WAIT = 300; // ms without typing before the server is asked
  const chosen = document.getElementById("chosen");
  const results = document.getElementById("found");
  const find = document.getElementById("find");
  const recipients = form.querySelector(".recipients");
  const send = form.querySelector("button[value=send]");

  // Return a function that sends a request when typing pauses, and drops an answer if a later request was sent meanwhile.
  function debounced(request, show) {
    let timer = 0;
    let last = 0;
    return () => {
      clearTimeout(timer);
      const number = ++last;
      timer = setTimeout(async () => {
        try {
          const answer = await request();
          if (answer.ok && !answer.redirected && number === last) show(await answer.text());
        } catch {
          // Without an answer the page stays as it is: the server compares what is sent with the preview on the page.
        }
      }, WAIT);
    };
  }

  const headers = { "X-Requested-With": "fetch" };

  const preview = debounced(
    () => fetch(form.dataset.preview, { method: "POST", body: new FormData(form), headers }),
    (text) => {
      const fresh = document.createElement("div");
      fresh.innerHTML = text;
      for (const part of fresh.querySelectorAll("[data-part]")) {
        const current = document.getElementById(part.dataset.part);
        if (current.innerHTML !== part.innerHTML) current.innerHTML = part.innerHTML;
      }
      send.textContent = form.elements.previewed.dataset.button;
    },
  );

  const isChosen = (box) => Boolean(chosen.querySelector(`input[name="${box.name}"][value="${box.value}"]`));

  const search = debounced(
    () => fetch(`${form.dataset.find}?${new URLSearchParams({ q: find.value })}`, { headers }),
    (text) => {
      results.innerHTML = text;
      for (const box of results.querySelectorAll("input")) if (isChosen(box)) box.closest("label").remove();
    },
  );

  function choose(box) {
    chosen.append(box.closest("label"));
    box.checked = true;
    if (find.value) {
      find.value = "";
      search();
    }
    find.focus();
    preview();
  }

  // Until the reader changes them, the suggested recipients are ticked for policies only: a play has its own people.
  let touched = false;
  const boxes = Array.from(chosen.querySelectorAll("input"));

  function follow() {
    const play = form.elements.follows.value.startsWith("play:");
    for (const label of recipients.querySelectorAll("[data-for]")) label.hidden = (label.dataset.for === "play") !== play;
    if (!touched) for (const box of boxes) box.checked = !play;
    recipients.open = !play || chosen.querySelector("input:checked") !== null;
  }

  for (const button of form.querySelectorAll("button[value=find], button[value=preview]")) button.remove();

  form.addEventListener("change", (event) => {
    if (event.target.closest("#found")) {
      touched = true;
      return choose(event.target);
    }
    if (event.target.closest("#chosen")) touched = true;
    if (event.target.name === "follows") follow();
    if (event.target.name) preview();
  });
  find.addEventListener("input", search);

  // Enter in a field never sends: it chooses the first search result, or moves the focus to the button.
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || !event.target.matches("input")) return;
    event.preventDefault();
    if (event.target !== find) return send.focus();
    const first = results.querySelector("input");
    if (first && find.value) {
      touched = true;
      choose(first);
    }
  });
}
