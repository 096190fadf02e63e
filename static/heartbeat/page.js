// Small conveniences; every page works without them.

// COPY: the exact text of the named field, also where the asynchronous clipboard is missing or refused.
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
  const said = document.getElementById(button.dataset.says);
  const copied = await copyText(field);
  button.focus();
  if (!said) return;
  said.textContent = copied ? "Copied" : "Could not copy: select the text and press Ctrl+C.";
  said.classList.toggle("failed", !copied);
});

// A drop-down that decides what the page lists takes effect at once.
document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-submit]")) event.target.form.requestSubmit();
});

// A box of check boxes is narrowed by typing; ticked ones stay in sight.
document.addEventListener("input", (event) => {
  if (!event.target.matches("input[data-narrows]")) return;
  const words = event.target.value.trim().toLowerCase();
  for (const row of document.getElementById(event.target.dataset.narrows).children) {
    const ticked = row.querySelector("input:checked");
    row.hidden = Boolean(words) && !ticked && !row.textContent.toLowerCase().includes(words);
  }
});
for (const field of document.querySelectorAll("input[data-narrows][hidden]")) field.hidden = false;

// Parts of a page that bring themselves up to date, and say so when they cannot, or when they wait for the reader.
const LATE_AFTER = 3;
// A page that is not in sight keeps only its title, and more seldom.
const HIDDEN_EVERY = 6;

// Between press and release nothing is swapped: the click would be lost.
let pressed = false;
addEventListener("pointerdown", () => (pressed = true), true);
for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => setTimeout(() => (pressed = false)), true);

// What a part says: without times, which change by themselves, and with the state for which its forms were made.
function gist(part) {
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

// One part that is swapped as a whole. It waits while the reader is in it; with data-live="changed" it is swapped only
// when it says something else, and then a focus on a button or link does not hold it back.
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
    const said = document.createElement("span");
    said.textContent = text;
    note.replaceChildren(said, button);
    note.hidden = false;
  };

  const showWhenFree = () => setTimeout(() => newer && !busy() && show());
  for (const name of ["focusout", "selectionchange", "pointerup"]) document.addEventListener(name, showWhenFree);

  return (fresh) => {
    const changed = gist(part) !== gist(fresh);
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
  let turns = 0;
  let good = new Date();

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
    // Numbers go on wherever the reader is.
    for (const number of fresh.querySelectorAll("[data-number]")) {
      const shown = document.getElementById(number.id);
      if (!shown || shown.textContent === number.textContent) continue;
      shown.textContent = number.textContent;
      shown.className = number.className;
    }
    whole?.(fresh);
    for (const [id, swap] of inner) {
      const found = fresh.querySelector(`#${id}`);
      if (found) swap(found);
    }
  }

  async function refresh() {
    turns += 1;
    if (document.hidden && !(titled && turns % HIDDEN_EVERY === 0)) return true;
    try {
      const answer = await fetch(part.dataset.refresh, {
        headers: { "X-Requested-With": "fetch" },
        redirect: "manual",
        cache: "no-store",
        signal: AbortSignal.timeout(Math.max(every, 5000)),
      });
      if (answer.type === "opaqueredirect" || [401, 403, 404].includes(answer.status)) {
        say("This page is no longer kept up to date: you were signed out or may not see it any more. Load it again.");
        return false;
      }
      if (!answer.ok) throw new Error(answer.statusText);
      update(await answer.text());
      failures = 0;
      good = new Date();
      say("");
    } catch {
      failures += 1;
      if (failures >= LATE_AFTER) say(`Not up to date: nothing was heard from the server since ${good.toLocaleTimeString()}.`);
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

// Push: this browser subscribes with its own push service, and what it answers is sent as the new contact method.
function bytes(base64url) {
  const base64 = base64url.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

async function subscribe(form) {
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error("This browser was told not to show messages of this site. Permit them in its settings, then try again.");
  }
  const worker = await navigator.serviceWorker.register("/service-worker.js");
  await navigator.serviceWorker.ready;
  const key = bytes(form.dataset.pushKey);
  const old = await worker.pushManager.getSubscription();
  if (old) await old.unsubscribe();
  return worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
}

// The service worker finds here what this browser's subscription is, when the push service replaces it.
async function remember(subscription) {
  if (subscription && "caches" in window) {
    await (await caches.open("push")).put("/push/subscription", new Response(JSON.stringify(subscription)));
  }
}

for (const form of document.querySelectorAll("form[data-push-key]")) {
  if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)) continue;
  form.hidden = false;
  navigator.serviceWorker
    .getRegistration()
    .then((worker) => worker?.pushManager.getSubscription())
    .then(remember)
    .catch(() => {}); // it is kept for later; nobody waits for it
  form.addEventListener("submit", async (event) => {
    if (form.elements.address.value) return;
    event.preventDefault();
    const said = form.querySelector("[role=status]");
    try {
      const subscription = await subscribe(form);
      await remember(subscription);
      form.elements.address.value = JSON.stringify(subscription);
      form.requestSubmit();
    } catch (error) {
      said.textContent = error.message;
    }
  });
}
