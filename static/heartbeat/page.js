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

// Parts of a page that bring themselves up to date, and say so when they cannot.
const LATE_AFTER = 3;

function keepFresh(part) {
  const every = Number(part.dataset.every || 5) * 1000;
  const stale = document.getElementById(part.dataset.stale);
  let failures = 0;
  let good = new Date();

  const say = (text) => {
    if (!stale) return;
    stale.textContent = text;
    stale.hidden = !text;
  };

  async function refresh() {
    if (document.hidden || part.contains(document.activeElement) || !document.getSelection().isCollapsed) return true;
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
      part.innerHTML = await answer.text();
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
