"""Configuration > Integrations > Inbound Integrations: list, form, the saved page with its API URL."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from accounts.admin.base import OrganizationAdmin, instant, organization_of, person
from accounts.entitlements import Entitlement
from alerting.selectors import visible_alerts
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.errors import DomainError
from integrations.admin.forms import HeartbeatForm
from integrations.models import Heartbeat, InboundIntegration
from integrations.readiness import who_would_be_told, why_nobody
from integrations.selectors import api_url, recent_events, recent_pings, state_of
from integrations.services import heartbeats

SHOWN_PINGS = 20
SHOWN_EVENTS = 20
SHOWN_ALERTS = 5
# A first message that comes sooner needs no words.
AT_ONCE = timedelta(minutes=1)
_RUNNING = [Heartbeat.State.WAITING, Heartbeat.State.HEALTHY]


class TypeFilter(admin.SimpleListFilter):
    """The type drop-down: API, Email, Chat, Heartbeat."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, label in InboundIntegration.Type.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() in InboundIntegration.Type.values else queryset


class StatusFilter(admin.SimpleListFilter):
    """The status drop-down: enabled or not, and the states of heartbeats."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("enabled", "Enabled"),
            ("disabled", "Disabled"),
            ("healthy", "Healthy"),
            ("missed", "Missed"),
            ("waiting", "Waiting for the first ping"),
            ("maintenance", "In maintenance"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        in_maintenance = Q(heartbeat__suspended_until__isnull=False, heartbeat__suspended_until__gt=instant(request))
        meanings = {
            "enabled": Q(enabled=True),
            "disabled": Q(enabled=False),
            "healthy": Q(heartbeat__state="healthy") & ~in_maintenance,
            "missed": Q(heartbeat__state="missed"),
            "waiting": Q(heartbeat__state="waiting") & ~in_maintenance,
            "maintenance": in_maintenance & Q(heartbeat__state__in=_RUNNING),
        }
        return queryset.filter(meanings.get(self.value() or "", Q()))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list."""

    integration: InboundIntegration
    heartbeat: Heartbeat | None
    state: str


@admin.register(InboundIntegration)
class InboundIntegrationAdmin(OrganizationAdmin):
    """Inbound integrations; heartbeat is the type that can be added now."""

    singular, plural = "Inbound Integration", "Inbound Integrations"
    change_needs = (Entitlement.INBOUND_INTEGRATIONS,)
    submit_label = "Submit"
    form = HeartbeatForm
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    "follows",
                    "interval_minutes",
                    "recipient_groups",
                    "recipient_users",
                    "bridge",
                    "enabled",
                ),
            },
        ),
        ("More settings", {"classes": ("collapse",), "fields": ("grace_minutes", "start_timer", "allow_get")}),
    )
    list_display = ("name",)
    list_filter = (TypeFilter, StatusFilter)
    search_fields = ("name",)
    ordering = ("name", "pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        related = ("heartbeat", "escalation_policy", "response_play", "bridge")
        return super().get_queryset(request).select_related(*related)

    # -- the list --------------------------------------------------------------------------------------------------
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        now = instant(request)
        types = InboundIntegration.Type
        chosen = request.GET.get("type", "")
        context = {
            "now": now,
            "types": types.choices,
            "chosen_type": chosen if chosen in types.values else "",
            "chosen_label": types(chosen).label if chosen in types.values else "",
            "statuses": StatusFilter(request, {}, InboundIntegration, self).lookup_choices,
            "chosen_status": request.GET.get("status", ""),
        }
        response = super().changelist_view(request, context | (extra_context or {}))
        if isinstance(response, TemplateResponse) and response.context_data and "cl" in response.context_data:
            found = response.context_data["cl"].result_list
            response.context_data["rows"] = [_row(integration, now=now) for integration in found]
        return response

    # -- the form --------------------------------------------------------------------------------------------------
    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> InboundIntegration:
        values = form.service_values()
        if stored is None:
            organization = organization_of(request)
            return heartbeats.create_heartbeat(organization, actor=person(request), now=now, **values)
        return heartbeats.update_heartbeat(stored, actor=person(request), now=now, **values)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(
            request, f"“{obj}” is saved. Its API URL is below: let the job POST to it each time it has run."
        )
        return self._saved(request, obj)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        messages.success(request, f"“{obj}” is saved.")
        return self._saved(request, obj)

    def _saved(self, request: HttpRequest, obj: InboundIntegration) -> HttpResponse:
        stored = self.get_queryset(request).get(pk=obj.pk)
        if warning := _who_hears_of_it(stored, now=instant(request)):
            messages.warning(request, warning)
        return HttpResponseRedirect(self.page_of(stored))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any) -> Any:
        integration = context.get("original")
        if integration is not None:
            # A form with errors has put its values on this object; what is shown of it is what is stored.
            stored = self.get_queryset(request).get(pk=integration.pk)
            context |= self._state(request, stored) | _logs(request, stored) | {"api_url": api_url(stored)}
        response = super().render_change_form(request, context, *args, **options)
        if integration is not None:
            response.context_data["title"] = stored.name
        return response

    # -- the saved page --------------------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        name = "integrations_inboundintegration"
        wrap = self.admin_site.admin_view
        return [
            path("<path:object_id>/state/", wrap(self.state_view), name=f"{name}_state"),
            path("<path:object_id>/logs/", wrap(self.logs_view), name=f"{name}_logs"),
            path("<path:object_id>/rotate/", wrap(self.rotate_view), name=f"{name}_rotate"),
            *super().get_urls(),
        ]

    def state_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answer the state alone, for a page that is open."""
        context = self._state(request, self._asked_for(request, object_id))
        return TemplateResponse(request, "admin/integrations/inboundintegration/state.html", context)

    def logs_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answer the pings and the log alone, for a page that is open."""
        context = _logs(request, self._asked_for(request, object_id))
        return TemplateResponse(request, "admin/integrations/inboundintegration/logs.html", context)

    def rotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then give the integration a new API URL."""
        integration = self._asked_for(request, object_id)
        if request.method == "POST":
            try:
                heartbeats.rotate_token(integration, actor=person(request), now=instant(request))
            except DomainError as error:
                messages.error(request, str(error))
            else:
                messages.success(request, "The API URL is a new one. The old one is refused from now on.")
            return HttpResponseRedirect(self.page_of(integration))
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        context = self.admin_site.each_context(request) | self._words()
        context |= {"opts": self.opts, "title": "Rotate the API URL?", "original": integration}
        return TemplateResponse(request, "admin/integrations/inboundintegration/rotate.html", context)

    def delete_says(self, obj: InboundIntegration) -> str:
        return (
            "Pings to its API URL are answered 404 from then on. An alert that is open for it is closed with a note; "
            "its alerts are kept."
        )

    def delete_through(self, request: HttpRequest, obj: InboundIntegration, *, now: datetime) -> None:
        heartbeats.delete_integration(obj, actor=person(request), now=now)

    def _asked_for(self, request: HttpRequest, object_id: str) -> InboundIntegration:
        if not self.has_change_permission(request):
            raise PermissionDenied
        integration: InboundIntegration = self.get_object(request, object_id)
        return integration

    def _state(self, request: HttpRequest, integration: InboundIntegration) -> dict[str, Any]:
        alerts = visible_alerts(person(request)).filter(integration_id=integration.pk).order_by("-pk")
        return {
            "now": instant(request),
            "heartbeat": integration.heartbeat,
            "state": state_of(integration.heartbeat, now=instant(request)),
            "alerts": alerts.filter(is_test=False)[:SHOWN_ALERTS],
            "tests": alerts.filter(is_test=True)[:1],
        }


def _who_hears_of_it(integration: InboundIntegration, *, now: datetime) -> str:
    """Say that nobody who can answer would be notified of its silence, or not at once; nothing where somebody is."""
    if why := why_nobody(integration, at=now):
        return f"If it falls silent, nobody who can answer is notified: {why} Owners and App Admins would be, instead."
    first_at = who_would_be_told(integration, at=now).first_notified_at
    if first_at is None or first_at < now + AT_ONCE:
        return ""
    return f"If it falls silent, the first person who can answer is notified {in_words(first_at - now)} later."


def _logs(request: HttpRequest, integration: InboundIntegration) -> dict[str, Any]:
    return {
        "now": instant(request),
        "pings": recent_pings(integration, limit=SHOWN_PINGS),
        "events": recent_events(integration, limit=SHOWN_EVENTS),
    }


def _row(integration: InboundIntegration, *, now: datetime) -> Row:
    heartbeat = getattr(integration, "heartbeat", None)
    if heartbeat is None:
        return Row(integration, None, "waiting" if integration.enabled else "disabled")
    return Row(integration, heartbeat, state_of(heartbeat, now=now))
