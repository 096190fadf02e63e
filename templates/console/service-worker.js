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
