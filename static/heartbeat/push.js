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
