// Drop-downs that filter a list submit their form at once.
document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-submit]")) event.target.form.requestSubmit();
});

// Typing narrows a box of check boxes; ticked ones stay visible.
document.addEventListener("input", (event) => {
  if (!event.target.matches("input[data-narrows]")) return;
  const words = event.target.value.trim().toLowerCase();
  for (const row of document.getElementById(event.target.dataset.narrows).children) {
    const ticked = row.querySelector("input:checked");
    row.hidden = Boolean(words) && !ticked && !row.textContent.toLowerCase().includes(words);
  }
});
for (const field of document.querySelectorAll("input[data-narrows][hidden]")) field.hidden = false;

// A field that chooses among many rows lists only those that are chosen. While a name is typed, its form is sent as by the
// button "Find", which stands there without scripts: the answer is the page with what was found, and saves nothing.
const FIND_WAIT = 300; // ms without typing before the server is asked
let findTimer = 0;
let lastFind = 0;

async function findRows(field) {
  const number = ++lastFind;
  const part = field.closest("[data-searched]");
  if (!field.value.trim()) return showFound(part, null);
  const form = field.form;
  const data = new FormData(form);
  data.set("_find", "1");
  // By attributes: a field with the name "action" or "method" hides the form's own property.
  const address = new URL(form.getAttribute("action") || "", location.href);
  const options = { headers: { "X-Requested-With": "fetch" }, redirect: "manual" };
  if (form.getAttribute("method") === "post") Object.assign(options, { method: "POST", body: data });
  else address.search = new URLSearchParams(data);
  try {
    const answer = await fetch(address, options);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementsByName(field.name)[0]?.closest("[data-searched]");
    if (found && number === lastFind) showFound(part, found);
  } catch {
    if (number === lastFind) part.querySelector("[role=status]").textContent = "No answer from the server. Type again.";
  }
}

// Keep what is chosen, and replace the rest by what was found; null: by nothing.
function showFound(part, found) {
  const status = part.querySelector("[role=status]");
  const list = part.querySelector("select, .box");
  const isBoxes = list.matches(".box");
  const valueOf = (row) => (isBoxes ? row.querySelector("input").value : row.value);
  const isChosen = (row) => (isBoxes ? row.querySelector("input").checked : row.selected || !row.value);
  for (const row of Array.from(list.children)) if (!isChosen(row)) row.remove();
  const kept = new Set(Array.from(list.children, valueOf));
  const isFound = (row) => !(isBoxes ? row.querySelector("input").checked : row.defaultSelected) && !kept.has(valueOf(row));
  const rows = Array.from(found?.querySelectorAll(isBoxes ? ".option" : "option") ?? []).filter(isFound);
  // Boxes first, because the list may be long, and only its beginning is in sight.
  if (isBoxes) list.prepend(...rows);
  else list.append(...rows);
  list.scrollTop = 0;
  part.dataset.note ??= status.textContent;
  status.textContent = found ? found.querySelector("[role=status]").textContent : part.dataset.note;
}

document.addEventListener("input", (event) => {
  if (!event.target.matches("input[data-find]")) return;
  clearTimeout(findTimer);
  findTimer = setTimeout(findRows, FIND_WAIT, event.target);
});
// Enter in the search does not send the form, which would save it.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing || !event.target.matches("input[data-find]")) return;
  event.preventDefault();
  clearTimeout(findTimer);
  findRows(event.target);
});
