"""Where everything answers."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.routers import DefaultRouter

from accounts.api.urls import register as register_accounts
from alerting.api.urls import register as register_alerting
from escalation.api.callbacks import TwilioCallback
from escalation.api.feeds import calendar
from escalation.api.urls import register as register_escalation
from escalation.api.urls import responses
from heartbeat_project import health
from integrations.api.ping import HeartbeatPing
from integrations.api.urls import register as register_integrations

router = DefaultRouter()
register_integrations(router)
register_alerting(router)
register_escalation(router)
register_accounts(router)

urlpatterns = [
    path("Heartbeat/<str:token>", HeartbeatPing.as_view(), name="ping"),
    # The other spellings mean the same, and stand in the OpenAPI document once.
    path("Heartbeat/<str:token>/", HeartbeatPing.as_view(schema=None)),
    path("heartbeat/<str:token>", HeartbeatPing.as_view(schema=None)),
    path("heartbeat/<str:token>/", HeartbeatPing.as_view(schema=None)),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/v1/provider-callbacks/twilio/<uuid:message_id>/", TwilioCallback.as_view(), name="twilio_callback"),
    path("api/v1/responses/", include(responses)),
    path("api/v1/", include(router.urls)),
    path("calendar/<str:token>.ics", calendar, name="calendar"),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("", include("heartbeat_project.console.urls")),
]
handler404 = "heartbeat_project.console.views.faults.not_found"
handler500 = "heartbeat_project.console.views.faults.server_error"
