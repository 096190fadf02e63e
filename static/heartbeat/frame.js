// The frame: menus that close by themselves, keys, and the question for the time zone.

// Menus are <details>, so that they open without scripts.
function openMenus() {
  return document.querySelectorAll("details.menu[open]");
}

document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("focusin", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});

// Keys are for readers, not for somebody who writes, and never together with others: browsers use those.
const WRITES = "input, textarea, select, [contenteditable]";
const help = document.getElementById("keys-help");

function searchField() {
  const fields = document.querySelectorAll("input[data-key='/']");
  return Array.from(fields).find((field) => field.checkVisibility());
}

function search() {
  if (!searchField()) document.querySelector(".bottom details.menu")?.setAttribute("open", "");
  const field = searchField();
  field?.focus();
  field?.select();
}

// Move the focus to the next row of the list, or by -1 to the one before; from elsewhere to the first.
function moveRow(step) {
  const links = Array.from(document.querySelectorAll("[data-row] .what a"));
  if (!links.length) return;
  const row = document.activeElement.closest("[data-row]");
  const now = links.findIndex((link) => link.closest("[data-row]") === row);
  links[Math.min(Math.max(now + step, 0), links.length - 1)].focus();
}

const KEYS = {
  "/": search,
  "?": () => help?.showModal(),
  j: () => moveRow(1),
  k: () => moveRow(-1),
  x: () => document.activeElement.closest("[data-row]")?.querySelector("input[type=checkbox]")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of openMenus()) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  const isBox = event.target.matches("input[type=checkbox]");
  if ((event.target.matches(WRITES) && !isBox) || help?.open || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});
for (const button of document.querySelectorAll("[data-shows-keys]")) {
  button.hidden = !help;
  button.addEventListener("click", () => help.showModal());
}

// Whoever has the zone in which accounts begin is asked once whether it is that of the browser.
const question = document.querySelector("[data-zone]");
if (question) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && zone !== question.dataset.zone && !["Etc/UTC", "Etc/GMT", "GMT"].includes(zone)) {
    for (const text of question.querySelectorAll("[data-zone-name]")) text.textContent = zone;
    question.querySelector("input[name=zone]").value = zone;
    question.hidden = false;
    question.parentElement.hidden = false;
  }
}
