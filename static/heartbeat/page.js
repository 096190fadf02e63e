// Conveniences of all pages, which work without them.

// COPY buttons: copy the exact text of a field, even if the asynchronous clipboard is missing or refused.
async function copyText(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.focus();
    field.setSelectionRange(0, field.value.length);
    return document.execCommand("copy");
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  const status = document.getElementById(button.dataset.says);
  const copied = await copyText(field);
  button.focus();
  if (!status) return;
  status.textContent = copied ? "Copied" : "Could not copy: select the text and press Ctrl+C.";
  status.classList.toggle("failed", !copied);
});

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

// Live parts: they refresh themselves, and say so if that fails or if they wait for the reader.
const STALE_AFTER = 3; // failed refreshes in a row until the page says that it is out of date
const HIDDEN_EVERY = 6; // a hidden page refreshes only its title, and only every sixth time

// Nothing is swapped between press and release of a pointer: the click would be lost.
let pressed = false;
addEventListener("pointerdown", () => (pressed = true), true);
for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => setTimeout(() => (pressed = false)), true);

// The text of a part for comparison: without times, which always change, and with the state that its forms were made for.
function contentKey(part) {
  const copy = part.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.remove();
  const seen = Array.from(copy.querySelectorAll("input[name=seen]"), (field) => field.value);
  return [copy.textContent.replace(/\s+/g, " ").trim(), ...seen].join("\n");
}

function isSelectedIn(part) {
  const selection = document.getSelection();
  return !selection.isCollapsed && selection.getRangeAt(0).intersectsNode(part);
}

function rowsOf(part) {
  return Array.from(part.querySelectorAll("[data-row]"), (row) => row.dataset.row);
}

// One part that is swapped as a whole. It waits while the reader works in it. With data-live="changed" it is swapped
// only if its text has changed, and a focus on a button or link does not make it wait.
function livePart(part) {
  const onlyChanged = part.dataset.live === "changed";
  const note = document.createElement("p");
  note.className = "waiting";
  note.setAttribute("role", "status");
  note.hidden = true;
  part.before(note);
  let newer = null;

  const busy = () => {
    const focused = document.activeElement;
    const inside = focused !== part && part.contains(focused);
    const held = inside && !(onlyChanged && focused.matches("a, button, summary"));
    return pressed || held || isSelectedIn(part) || part.querySelector("details[open] form") !== null;
  };

  const settle = () => {
    newer = null;
    note.hidden = true;
    note.replaceChildren();
  };

  const show = () => {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    part.innerHTML = newer.innerHTML;
    settle();
    if (!focused) return;
    const alike = Array.from(part.querySelectorAll(focused.tagName)).find((other) => other.textContent === focused.textContent);
    part.tabIndex = -1;
    (alike || part).focus({ preventScroll: true });
  };

  const say = () => {
    const known = new Set(rowsOf(part));
    const added = rowsOf(newer).filter((row) => !known.has(row)).length;
    const text = `${added ? `${added} new` : "There is news"}: not shown while you are in here.`;
    if (note.firstChild?.textContent === text) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Show now";
    button.addEventListener("click", () => {
      document.getSelection().removeAllRanges();
      show();
      part.tabIndex = -1;
      part.focus({ preventScroll: true });
    });
    const label = document.createElement("span");
    label.textContent = text;
    note.replaceChildren(label, button);
    note.hidden = false;
  };

  const showWhenFree = () => setTimeout(() => newer && !busy() && show());
  for (const name of ["focusout", "selectionchange", "pointerup"]) document.addEventListener(name, showWhenFree);

  return (fresh) => {
    const changed = contentKey(part) !== contentKey(fresh);
    if (onlyChanged && !changed) return settle();
    newer = fresh;
    if (!busy()) return show();
    return changed ? say() : undefined;
  };
}

function keepFresh(part) {
  const every = Number(part.dataset.every || 5) * 1000;
  const stale = document.getElementById(part.dataset.stale);
  const inner = Array.from(part.querySelectorAll("[data-live]"), (live) => [live.id, livePart(live)]);
  const whole = inner.length ? null : livePart(part);
  const titled = part.querySelector("[data-page-title]") !== null;
  let failures = 0;
  let refreshes = 0;
  let updatedAt = new Date();

  const say = (text) => {
    if (!stale) return;
    stale.textContent = text;
    stale.hidden = !text;
  };

  function update(text) {
    const fresh = document.createElement("div");
    fresh.innerHTML = text;
    const title = fresh.querySelector("[data-page-title]");
    if (title) document.title = title.textContent;
    // Numbers are updated even while the reader works in their part.
    for (const number of fresh.querySelectorAll("[data-number]")) {
      const current = document.getElementById(number.id);
      if (!current || current.textContent === number.textContent) continue;
      current.textContent = number.textContent;
      current.className = number.className;
    }
    whole?.(fresh);
    for (const [id, swap] of inner) {
      const newPart = fresh.querySelector(`#${id}`);
      if (newPart) swap(newPart);
    }
  }

  async function refresh() {
    refreshes += 1;
    if (document.hidden && !(titled && refreshes % HIDDEN_EVERY === 0)) return true;
    try {
      const answer = await fetch(part.dataset.refresh, {
        headers: { "X-Requested-With": "fetch" },
        redirect: "manual",
        cache: "no-store",
        signal: AbortSignal.timeout(Math.max(every, 5000)),
      });
      if (answer.type === "opaqueredirect" || [401, 403, 404].includes(answer.status)) {
        say("This page is no longer kept up to date: you were signed out or may not see it any more. Reload it.");
        return false;
      }
      if (!answer.ok) throw new Error(answer.statusText);
      update(await answer.text());
      failures = 0;
      updatedAt = new Date();
      say("");
    } catch {
      failures += 1;
      if (failures >= STALE_AFTER) say(`Not up to date: no answer from the server since ${updatedAt.toLocaleTimeString()}.`);
    }
    return true;
  }

  const loop = async () => {
    if (await refresh()) setTimeout(loop, every);
  };
  setTimeout(loop, every);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}

for (const part of document.querySelectorAll("[data-refresh]")) keepFresh(part);

// Push: this browser subscribes at its own push service, and the subscription is sent as a new contact method.
function bytes(base64url) {
  const base64 = base64url.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

async function subscribe(form) {
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error("This browser is set not to show notifications of this site. Allow them in its settings, then try again.");
  }
  const worker = await navigator.serviceWorker.register(form.dataset.serviceWorker);
  await navigator.serviceWorker.ready;
  const key = bytes(form.dataset.pushKey);
  const old = await worker.pushManager.getSubscription();
  if (old) await old.unsubscribe();
  return worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
}

// Store the subscription for the service worker, which needs it when the push service replaces it.
async function storeSubscription(subscription, form) {
  if (subscription && "caches" in window) {
    const key = new URL("push/subscription", new URL(form.dataset.serviceWorker, location));
    await (await caches.open("push")).put(key, new Response(JSON.stringify(subscription)));
  }
}

for (const form of document.querySelectorAll("form[data-push-key]")) {
  if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)) continue;
  form.hidden = false;
  navigator.serviceWorker
    .getRegistration()
    .then((worker) => worker?.pushManager.getSubscription())
    .then((subscription) => storeSubscription(subscription, form))
    .catch(() => {}); // only a precaution for a later renewal
  form.addEventListener("submit", async (event) => {
    if (form.elements.address.value) return;
    event.preventDefault();
    const status = form.querySelector("[role=status]");
    try {
      const subscription = await subscribe(form);
      await storeSubscription(subscription, form);
      form.elements.address.value = JSON.stringify(subscription);
      form.requestSubmit();
    } catch (error) {
      status.textContent = error.message;
    }
  });
}
