// The mapping beside a sample: a click on a value puts its path into the field in which the cursor was, and what comes
// out is shown while one types. Without this script, the button "Try" shows it.
const TRY_WAIT = 400; // ms without typing before the server is asked
const tryForm = document.querySelector("form[data-try]");
const tryStatus = document.getElementById("try-status");
let target = null;
let tryTimer = 0;
let lastTry = 0;

async function tryMapping() {
  const number = ++lastTry;
  const body = new FormData(tryForm);
  body.set("_try", "1");
  try {
    const options = { method: "POST", body, headers: { "X-Requested-With": "fetch" }, redirect: "manual" };
    const answer = await fetch(tryForm.getAttribute("action"), options);
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (number !== lastTry) return;
    for (const result of tryForm.querySelectorAll("[data-result]")) {
      const fresh = page.getElementById(result.id);
      if (fresh) result.replaceChildren(...fresh.childNodes);
      result.closest(".mapped")?.querySelector(".field").classList.toggle("errors", Boolean(result.querySelector(".fault")));
    }
    tryStatus.textContent = "The results are up to date.";
  } catch {
    if (number === lastTry) tryStatus.textContent = "No answer from the server: the results are not up to date.";
  }
}

tryForm.addEventListener("focusin", (event) => {
  if (event.target.matches("[data-takes]")) target = event.target;
});

for (const name of ["input", "change"]) {
  tryForm.addEventListener(name, () => {
    clearTimeout(tryTimer);
    tryTimer = setTimeout(tryMapping, TRY_WAIT);
  });
}

document.addEventListener("click", (event) => {
  const value = event.target.closest("button[data-template]");
  if (!value) return;
  if (!target) {
    tryStatus.textContent = "Click into a field first.";
    return;
  }
  const { template, path } = value.dataset;
  const text = { template, path: JSON.stringify(path), "plain path": path }[target.dataset.takes];
  target.focus();
  target.setRangeText(text, target.selectionStart, target.selectionEnd, "end");
  target.dispatchEvent(new Event("input", { bubbles: true }));
});
