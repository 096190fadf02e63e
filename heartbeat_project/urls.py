"""The URLs of the ping endpoint, the API, the admin site, the probes and the console."""

from django.contrib import admin
from django.urls import include, path, re_path

from accounts.api.urls import register as register_accounts
from alerting.api.urls import register as register_alerting
from escalation.api.calendar_feeds import calendar
from escalation.api.outbound import OutboundIntegrations
from escalation.api.provider_callbacks import TwilioCallback
from escalation.api.urls import register as register_escalation
from escalation.api.urls import responses
from heartbeat_project import health
from heartbeat_project.api.root import Router
from heartbeat_project.api.urls import register as register_composition
from heartbeat_project.api_docs import docs
from heartbeat_project.schema import SchemaView
from integrations.api.chat import chat
from integrations.api.events import post_alert
from integrations.api.pings import HeartbeatPing
from integrations.api.urls import register as register_integrations
from integrations.api.urls import responses as mail_responses
from integrations.api.usage import UsageViewSet

# Here and not in every process: workers have no pages.
admin.autodiscover()

router = Router()
# Addresses such as /api/v1/alerts.json: `format` is a parameter of ours, see alerts/export/.
router.include_format_suffixes = False
register_integrations(router)
register_alerting(router)
register_escalation(router)
register_composition(router)
register_accounts(router)

urlpatterns = [
    path("Heartbeat/<str:token>", HeartbeatPing.as_view(), name="ping"),
    # Other spellings of the same endpoint; only the first is in the OpenAPI document.
    path("Heartbeat/<str:token>/", HeartbeatPing.as_view(schema=None)),
    path("heartbeat/<str:token>", HeartbeatPing.as_view(schema=None)),
    path("heartbeat/<str:token>/", HeartbeatPing.as_view(schema=None)),
    # AlertOps' address, in any case, with or without a slash at its end.
    re_path(r"^[Pp][Oo][Ss][Tt][Aa][Ll][Ee][Rr][Tt]/(?P<token>[^/]+)/?$", post_alert, name="post_alert"),
    re_path(r"^[Pp][Oo][Ss][Tt][Aa][Ll][Ee][Rr][Tt]/(?P<token>[^/]+)/(?P<source>[\s\S]+)$", post_alert),
    path("chat/<str:token>", chat, name="chat"),
    path("chat/<str:token>/", chat),
    path("api/v1/schema/", SchemaView.as_view(), name="schema"),
    path("api/v1/docs/", docs, name="docs"),
    path("api/v1/provider-callbacks/twilio/<uuid:message_id>/", TwilioCallback.as_view(), name="twilio_callback"),
    path("api/v1/responses/", include([*responses, *mail_responses])),
    path("api/v1/usage/", UsageViewSet.as_view({"get": "list"}), name="usage"),
    path("api/v1/outbound-integrations/", OutboundIntegrations.as_view(), name="outbound_integrations"),
    path("api/v1/", include(router.urls)),
    path("calendar/<str:token>.ics", calendar, name="calendar"),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz),
    path("readyz", health.readyz, name="ready"),
    path("metrics", health.metrics),
    path("", include("heartbeat_project.console.urls")),
]
handler400 = "heartbeat_project.console.views.faults.bad_request"
handler404 = "heartbeat_project.console.views.faults.not_found"
handler500 = "heartbeat_project.console.views.faults.server_error"
