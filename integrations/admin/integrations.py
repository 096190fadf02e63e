"""Configuration > Integrations > Inbound Integrations: the list, the form, and the saved page with its API URL."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from accounts.admin.base import instant, organization_of, person
from accounts.entitlements import Entitlement
from alerting.selectors import visible_alerts
from heartbeat_project.kernel.durations import exactly, in_words, minutes
from heartbeat_project.kernel.errors import DomainError
from integrations.admin.chat_form import MORE_FIELDS as MORE_CHAT_FIELDS
from integrations.admin.chat_form import SECRET_FIELDS, ChatForm, secret_fields
from integrations.admin.chat_pages import chat_page
from integrations.admin.email_form import MORE_FIELDS as MORE_EMAIL_FIELDS
from integrations.admin.email_form import EmailForm
from integrations.admin.event_form import MORE_FIELDS, EventForm
from integrations.admin.event_pages import EventPages, newest_events
from integrations.admin.event_words import LARGEST_LIVE, event_lines, fault_help, reading_of, result_lines
from integrations.admin.heartbeat_form import HeartbeatForm
from integrations.admin.integration_form import RotateForm
from integrations.configuration.edits import LABELS, delete_integration, rotate_token
from integrations.coverage.who_is_notified import who_would_be_notified, why_nobody
from integrations.heartbeats.edits import create_heartbeat, update_heartbeat
from integrations.heartbeats.selectors import recent_events, recent_pings
from integrations.inbound.edits import ADDABLE, create_event_integration, update_event_integration
from integrations.inbound.selectors import (
    api_url,
    email_address,
    events_of,
    in_state,
    mail_server_fault,
    mails_without_ping,
    state_of,
    with_event_state,
)
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from integrations.models.labels import MAX_TAG, as_tag

SHOWN_PINGS = 20
SHOWN_EVENTS = 20
SHOWN_ALERTS = 5
SHOWN_MAILS = 10
_FORMS: Final = {
    InboundIntegration.Type.API.value: EventForm,
    InboundIntegration.Type.EMAIL.value: EmailForm,
    InboundIntegration.Type.CHAT.value: ChatForm,
}
LOOPBACK = "127.0.0.1"
# Stands for the domain of mail addresses while none is set.
EXAMPLE_DOMAIN = "alerts.example.org"
# A first notification that comes sooner after the alert needs no warning.
AT_ONCE = timedelta(minutes=1)


class TypeFilter(admin.SimpleListFilter):
    """The type drop-down: API, Email, Chat, Heartbeat."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, label in InboundIntegration.Type.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() in InboundIntegration.Type.values else queryset


class StatusFilter(admin.SimpleListFilter):
    """The status drop-down: enabled or not, and the states of integrations."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("enabled", "Enabled"),
            ("disabled", "Disabled"),
            ("healthy", "Healthy"),
            ("missed", "Missed"),
            ("waiting", "Waiting"),
            ("maintenance", "In maintenance"),
            ("faulty", "Faulty"),
            ("storm", "Storm"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        status = self.value() or ""
        if status in {"enabled", "disabled"}:
            return queryset.filter(enabled=status == "enabled")
        is_known = status in dict(self.lookup_choices)
        return in_state(queryset, status, now=instant(request)) if is_known else queryset


class TagFilter(admin.SimpleListFilter):
    """The tag of an address, which the tags in the list lead to."""

    title = "tag"
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Only the one that is chosen: an organization may have thousands.
        chosen = as_tag(request.GET.get("tag", "").replace("\x00", ""))[:MAX_TAG]
        return [(chosen, chosen)] if chosen else [("", "")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        tag = as_tag((self.value() or "").replace("\x00", ""))[:MAX_TAG]
        return queryset.filter(tags__contains=[tag]) if tag else queryset


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the list; `heartbeat` is None for integrations of other types."""

    integration: InboundIntegration
    heartbeat: Heartbeat | None
    state: str


@admin.register(InboundIntegration)
class InboundIntegrationAdmin(EventPages):
    """Inbound integrations; heartbeats and those of the types of `ADDABLE` can be added here."""

    singular, plural = "Inbound Integration", "Inbound Integrations"
    change_needs = (Entitlement.INBOUND_INTEGRATIONS,)
    added = "Heartbeat"
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
        (
            "More settings",
            {"classes": ("collapse",), "fields": (*LABELS, "grace_minutes", "start_timer", "allow_get")},
        ),
    )
    # Those of other types.
    event_fieldsets = (
        (None, {"fields": ("name", "follows", "recipient_groups", "recipient_users", "bridge", "enabled")}),
        ("More settings", {"classes": ("collapse",), "fields": (*LABELS, *MORE_FIELDS)}),
    )
    email_fieldsets = (
        event_fieldsets[0],
        ("More settings", {"classes": ("collapse",), "fields": (*LABELS, *MORE_EMAIL_FIELDS)}),
    )
    chat_fieldsets = (
        (None, {"fields": ("name", "platform", "follows", "recipient_groups", "recipient_users", "bridge", "enabled")}),
        ("What the platform gave you", {"classes": ("collapse",), "fields": SECRET_FIELDS}),
        ("More settings", {"classes": ("collapse",), "fields": (*LABELS, *MORE_CHAT_FIELDS)}),
    )
    list_display = ("name",)
    list_filter = (TypeFilter, StatusFilter, TagFilter)
    search_fields = ("name",)
    ordering = ("name", "pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        settings_of_types = ("heartbeat", "event_settings", "event_state", "chat_settings")
        related = (*settings_of_types, "escalation_policy", "response_play", "bridge")
        rows = super().get_queryset(request).select_related(*related)
        return with_event_state(rows, now=instant(request))

    # -- the list --------------------------------------------------------------------------------------------------
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        now = instant(request)
        types = InboundIntegration.Type
        type_filter = request.GET.get("type", "")
        context = {
            "now": now,
            "types": types.choices,
            "chosen_type": type_filter if type_filter in types.values else "",
            "chosen_label": types(type_filter).label if type_filter in types.values else "",
            "addable": (types.HEARTBEAT, *ADDABLE),
            "statuses": StatusFilter(request, {}, InboundIntegration, self).lookup_choices,
            "chosen_status": request.GET.get("status", ""),
            "chosen_tag": as_tag(request.GET.get("tag", "").replace("\x00", ""))[:MAX_TAG],
        }
        response = super().changelist_view(request, context | (extra_context or {}))
        if isinstance(response, TemplateResponse) and response.context_data and "cl" in response.context_data:
            integrations = response.context_data["cl"].result_list
            response.context_data["rows"] = [_row(integration, now=now) for integration in integrations]
        return response

    # -- the form --------------------------------------------------------------------------------------------------
    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        kind = _type_of(request, obj)
        if kind != InboundIntegration.Type.HEARTBEAT:
            options["form"] = _FORMS[kind]
        return super().get_form(request, obj, change, **options)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        kind = _type_of(request, obj)
        if kind == InboundIntegration.Type.EMAIL:
            return self.email_fieldsets
        if kind == InboundIntegration.Type.CHAT:
            general, secrets, more = self.chat_fieldsets
            # A saved one shows what its platform gives; a new one may be of any.
            return general, (secrets[0], {**secrets[1], "fields": secret_fields(obj)}), more
        if kind != InboundIntegration.Type.HEARTBEAT:
            return self.event_fieldsets
        return super().get_fieldsets(request, obj)

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> InboundIntegration:
        values = form.service_values()
        if stored is None:
            organization, kind = organization_of(request), _type_of(request, None)
            if kind != InboundIntegration.Type.HEARTBEAT:
                return create_event_integration(organization, type=kind, now=now, **values)
            return create_heartbeat(organization, actor=person(request), now=now, **values)
        update = update_heartbeat if stored.is_heartbeat else update_event_integration
        return update(stored, actor=person(request), now=now, **values)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        todo = {
            InboundIntegration.Type.HEARTBEAT: "Its API URL is below: let the job POST to it each time it has run.",
            InboundIntegration.Type.EMAIL: "Its mail address is below: let your systems mail their problems to it.",
            InboundIntegration.Type.CHAT: "The steps to set up the platform are below.",
        }.get(_type_of(request, None), "Its API URL is below: let your systems POST their events to it.")  # type: ignore[call-overload]
        messages.success(request, f"“{obj}” is saved. {todo}")
        return self._redirect_to_saved(request, obj)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        messages.success(request, f"“{obj}” is saved.")
        return self._redirect_to_saved(request, obj)

    def _redirect_to_saved(self, request: HttpRequest, obj: InboundIntegration) -> HttpResponse:
        stored = self.get_queryset(request).get(pk=obj.pk)
        if warning := _coverage_warning(stored, now=instant(request)):
            messages.warning(request, warning)
        return HttpResponseRedirect(self.page_of(stored))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any) -> Any:
        integration = context.get("original")
        if integration is not None:
            # A form with errors has put its values on this object; the page shows what is stored.
            stored = self.get_queryset(request).get(pk=integration.pk)
            context |= self._state(request, stored) | _logs(request, stored) | _addresses(stored)
            if stored.type == InboundIntegration.Type.CHAT:
                context |= chat_page(stored)
        response = super().render_change_form(request, context, *args, **options)
        if integration is not None:
            response.context_data["title"] = stored.name
        elif (kind := _type_of(request, None)) != InboundIntegration.Type.HEARTBEAT:
            response.context_data["title"] = f"Add {InboundIntegration.Type(kind).label} integration"
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
        """Render the state alone; an open page asks for it again and again."""
        context = self._state(request, self.integration_to_change(request, object_id))
        return TemplateResponse(request, "admin/integrations/inboundintegration/state.html", context)

    def logs_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Render the pings and the log, or the events, alone; an open page asks for them again and again."""
        integration = self.integration_to_change(request, object_id)
        name = "logs" if integration.is_heartbeat else "events"
        template = f"admin/integrations/inboundintegration/{name}.html"
        return TemplateResponse(request, template, _logs(request, integration))

    def rotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for confirmation (GET), or rotate the API URL (POST)."""
        integration = self.integration_to_change(request, object_id)
        if request.method not in {"GET", "HEAD", "POST"}:
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        form = RotateForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            overlap = minutes(form.cleaned_data["overlap_minutes"] or 0)
            then = f"works for another {exactly(overlap)}" if overlap else "is refused from now on"
            try:
                rotate_token(integration, actor=person(request), now=instant(request), overlap=overlap)
            except DomainError as error:
                messages.error(request, str(error))
            else:
                messages.success(request, f"The {_address_noun(integration)} was rotated. The old one {then}.")
            return HttpResponseRedirect(self.page_of(integration))
        context = self.admin_site.each_context(request) | self._words()
        title = f"Rotate the {_address_noun(integration)}?"
        context |= {"opts": self.opts, "title": title, "original": integration, "form": form}
        return TemplateResponse(request, "admin/integrations/inboundintegration/rotate.html", context)

    def delete_says(self, obj: InboundIntegration) -> str:
        if obj.is_heartbeat:
            return (
                "Pings to its API URL are answered 404 from then on. An alert that is open for it is closed with a "
                "note; its alerts are kept."
            )
        if obj.type == InboundIntegration.Type.EMAIL:
            return (
                "Mails to its address are refused from then on, and those that it received are deleted. Its open "
                "alerts are closed with a note, and what waits for its delay opens none; its alerts are kept."
            )
        if obj.type == InboundIntegration.Type.CHAT:
            return (
                "Requests to its URL are answered 404 from then on, and what it received is deleted. Its open alerts "
                "are closed with a note; its alerts are kept."
            )
        return (
            "Events to its API URL are answered 404 from then on, and those that it received are deleted. Its open "
            "alerts are closed with a note, and what waits for its delay opens none; its alerts are kept."
        )

    def delete_through(self, request: HttpRequest, obj: InboundIntegration, *, now: datetime) -> None:
        delete_integration(obj, actor=person(request), now=now)

    def _state(self, request: HttpRequest, integration: InboundIntegration) -> dict[str, Any]:
        alerts = visible_alerts(person(request)).filter(integration_id=integration.pk).order_by("-pk")
        return {
            **_newest_event(integration),
            "now": instant(request),
            "integration": integration,
            "heartbeat": integration.heartbeat if integration.is_heartbeat else None,
            "state": state_of(integration, now=instant(request)),
            "alerts": alerts.filter(is_test=False)[:SHOWN_ALERTS],
            "tests": alerts.filter(is_test=True)[:1],
        }


def _coverage_warning(integration: InboundIntegration, *, now: datetime) -> str:
    """Return a warning if nobody who can answer would be notified of its alerts at once, else an empty text."""
    occasion = "If it falls silent" if integration.is_heartbeat else "If it opens an alert"
    if why := why_nobody(integration, at=now):
        return f"{occasion}, nobody who can answer is notified: {why} Owners and App Admins are notified instead."
    first_at = who_would_be_notified(integration, at=now).first_notified_at
    if first_at is None or first_at < now + AT_ONCE:
        return ""
    return f"{occasion}, the first person who can answer is notified {in_words(first_at - now)} later."


def _logs(request: HttpRequest, integration: InboundIntegration) -> dict[str, Any]:
    if not integration.is_heartbeat:
        return {"now": instant(request), "integration": integration, **newest_events(integration)}
    return {
        "now": instant(request),
        "pings": recent_pings(integration, limit=SHOWN_PINGS),
        "events": recent_events(integration, limit=SHOWN_EVENTS),
        "mails": event_lines(mails_without_ping(integration, limit=SHOWN_MAILS)),
    }


def _row(integration: InboundIntegration, *, now: datetime) -> Row:
    heartbeat = integration.heartbeat if integration.is_heartbeat else None
    return Row(integration, heartbeat, state_of(integration, now=now))


def _newest_event(integration: InboundIntegration) -> dict[str, Any]:
    """Return the newest event of an integration, what is read in it, and its fault, for its state."""
    if integration.is_heartbeat:
        return {}
    newest = events_of(integration).first()
    return {
        "newest": newest,
        "results": result_lines(newest.result[:1]) if newest else [],
        "reading": reading_of(integration, newest, largest=LARGEST_LIVE),
        "fault": fault_help(integration, integration.event_state.fault),
    }


def _address_noun(integration: InboundIntegration) -> str:
    nouns = {InboundIntegration.Type.EMAIL.value: "mail address", InboundIntegration.Type.CHAT.value: "request URL"}
    return nouns.get(integration.type, "API URL")


def _addresses(integration: InboundIntegration) -> dict[str, Any]:
    """Return the secret addresses of an integration, and where a line that sends a mail finds our own mail server."""
    return {
        "api_url": api_url(integration),
        "email_address": email_address(integration),
        **_mail_places(),
        "base_url": settings.BASE_URL,
        "mail_fault": mail_server_fault(),
    }


def _mail_places() -> dict[str, Any]:
    """Return where our own mail server is reached from this machine, and the domain of the addresses or an example."""
    domain = settings.MAIL_DOMAIN
    # Nothing but zeros means all addresses of the machine.
    host = settings.SMTP_HOST if settings.SMTP_HOST.strip("0.:") else LOOPBACK
    has_domain = "." in domain and any(letter.isalpha() for letter in domain)
    return {
        "smtp_url": f"smtp://{f'[{host}]' if ':' in host else host}:{settings.SMTP_PORT}" if settings.SMTP_PORT else "",
        "smtp_place": f"[{'ipv6:' if ':' in host else ''}{host}]:{settings.SMTP_PORT}",
        "mail_domain": domain if has_domain else EXAMPLE_DOMAIN,
        "has_mail_domain": has_domain,
    }


def _type_of(request: HttpRequest, integration: InboundIntegration | None) -> str:
    """Return the type of the form: that of the integration, or of a new one, which the address names."""
    if integration is not None:
        return integration.type
    chosen = request.GET.get("type", "")
    return chosen if chosen in ADDABLE else InboundIntegration.Type.HEARTBEAT
