// Shows push messages, also while no page is open.
self.addEventListener("push", (event) => {
  const said = event.data ? event.data.json() : {};
  event.waitUntil(
    self.registration.showNotification(said.title || "Heartbeat", {
      body: said.body,
      tag: said.tag,
      data: { url: said.url },
      icon: "/static/heartbeat/favicon.svg",
      requireInteraction: true,
    }),
  );
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const wanted = new URL(event.notification.data?.url || "/", self.location.origin);
  event.waitUntil(self.clients.openWindow(self.location.origin + wanted.pathname));
});

// The push service gives this browser another subscription now and then. Whoever knows the old one is this browser: so
// page.js keeps it where this program finds it, for browsers that do not say it here.
const OLD = "/push/subscription";

async function remembered() {
  const kept = await (await caches.open("push")).match(OLD);
  return kept ? kept.json() : null;
}

async function renew(event) {
  const kept = await remembered();
  const said = event.oldSubscription ? JSON.parse(JSON.stringify(event.oldSubscription)) : null;
  const old = said?.keys?.auth ? said : kept;
  const fresh =
    event.newSubscription ||
    (await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: "{{ push_key }}" }));
  if (!old) return;
  const answer = await fetch("{% url "console:renew_push" %}", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ old, new: fresh }),
  });
  if (answer.ok) await (await caches.open("push")).put(OLD, new Response(JSON.stringify(fresh)));
}

self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(event)));
