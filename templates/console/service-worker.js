{% load static %}// Show push messages, even while no page is open.
self.addEventListener("push", (event) => {
  const message = event.data ? event.data.json() : {};
  event.waitUntil(
    self.registration.showNotification(message.title || "Heartbeat", {
      body: message.body,
      tag: message.tag,
      data: { url: message.url },
      icon: "{% static "heartbeat/favicon.svg" %}",
      requireInteraction: true,
    }),
  );
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const target = new URL(event.notification.data?.url || "{% url "console:alerts" %}", self.location.origin);
  event.waitUntil(self.clients.openWindow(self.location.origin + target.pathname));
});

// A push service replaces this browser's subscription now and then. The old subscription proves to the server which
// browser this is. Some browsers do not pass it to this event, so page.js stores it in a cache.
const CACHE_KEY = new URL("push/subscription", self.location).href;

async function storedSubscription() {
  const response = await (await caches.open("push")).match(CACHE_KEY);
  return response ? response.json() : null;
}

async function renew(event) {
  const stored = await storedSubscription();
  const passed = event.oldSubscription ? JSON.parse(JSON.stringify(event.oldSubscription)) : null;
  const old = passed?.keys?.auth ? passed : stored;
  const fresh =
    event.newSubscription ||
    (await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: "{{ push_key }}" }));
  if (!old) return;
  const answer = await fetch("{% url "console:renew_push" %}", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ old, new: fresh }),
  });
  if (answer.ok) await (await caches.open("push")).put(CACHE_KEY, new Response(JSON.stringify(fresh)));
}

self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(event)));
