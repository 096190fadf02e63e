"""The pages of what an integration received: an event, its replay, and the mapping and rules beside a sample."""

from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from accounts.admin.base import OrganizationAdmin, instant, person
from accounts.models.groups import Group
from accounts.models.users import User
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.choice_fields import is_search
from heartbeat_project.kernel.errors import DomainError, FieldError
from heartbeat_project.masking import HIDDEN
from integrations.admin.event_words import ASKS, event_lines, label_of, reading_of, result_lines
from integrations.admin.mapping_form import EXAMPLE, MappingForm, tried
from integrations.admin.payload_tree import MAX_LINES, hides, tree_of
from integrations.admin.rule_form import RuleForm, is_editable
from integrations.admin.rule_list import changed, in_words, place
from integrations.inbound.bodies import body_of
from integrations.inbound.edits import update_event_integration
from integrations.inbound.replays import CannotBeDecoded, replay, sample, stored
from integrations.inbound.selectors import events_of
from integrations.models.events import InboundEvent
from integrations.models.integrations import InboundIntegration

SHOWN_EVENTS: Final = 20
SHOWN_RAW: Final = 20_000  # characters of a body as it arrived
SHOWN_PARTS: Final = 20
SHOWN_NUMBERS: Final = 200  # policies, plays, groups, and users
MAX_DIGITS: Final = 19  # of an event's id
# The event of the line that the page of an integration shows to newcomers.
NEWCOMERS_EVENT: Final = {"title": "Disk full on db1", "host": "db1", "check": "disk", "status": "problem"}
_NAME: Final = "integrations_inboundintegration"
_FOLDER: Final = "admin/integrations/inboundintegration"


class EventPages(OrganizationAdmin):
    """The pages of the events of one integration; those of other types than heartbeat have them."""

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<path:object_id>/events/<int:event_id>/", wrap(self.event_view), name=f"{_NAME}_event"),
            path("<path:object_id>/events/<int:event_id>/raw/", wrap(self.raw_view), name=f"{_NAME}_raw"),
            path("<path:object_id>/events/<int:event_id>/replay/", wrap(self.replay_view), name=f"{_NAME}_replay"),
            path("<path:object_id>/mapping/", wrap(self.mapping_view), name=f"{_NAME}_mapping"),
            *super().get_urls(),
        ]

    def event_view(self, request: HttpRequest, object_id: str, event_id: int) -> HttpResponse:
        """Show one event: what became of it, what is read in it, its payload, its headers, and its body."""
        integration = self.integration_with_events(request, object_id)
        row = event_of(integration, event_id)
        body = body_of(row)
        tree, left_out = tree_of(body.payload)
        context = self._page(request, integration, f"Event {row.pk}") | {
            "event": row,
            "results": result_lines(row.result[:SHOWN_PARTS]),
            "more_results": max(0, len(row.result) - SHOWN_PARTS),
            "reading": reading_of(integration, row),
            "tree": tree,
            "left_out": left_out,
            "max_lines": MAX_LINES,
            "headers": sorted(row.headers.items()),
            "query": [(name, HIDDEN if hides(name) else value) for name, value in sorted(row.query.items())],
            "raw": body.raw[:SHOWN_RAW],
            "raw_encoding": body.raw_encoding,
            "raw_is_cut": len(body.raw) > SHOWN_RAW,
        }
        return TemplateResponse(request, f"{_FOLDER}/event.html", context)

    def raw_view(self, request: HttpRequest, object_id: str, event_id: int) -> HttpResponse:
        """Return the body of an event byte by byte, as a file."""
        row = event_of(self.integration_with_events(request, object_id), event_id)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        # Not as what the sender says it is: a browser would show a page of theirs as ours.
        answer = HttpResponse(bytes(row.raw), content_type="application/octet-stream")
        answer["Content-Disposition"] = f'attachment; filename="event-{row.pk}"'
        return answer

    def replay_view(self, request: HttpRequest, object_id: str, event_id: int) -> HttpResponse:
        """Show what the present settings would make of an event (GET), or carry it out again (POST)."""
        integration = self.integration_with_events(request, object_id)
        if request.method not in {"GET", "HEAD", "POST"}:
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        row = event_of(integration, event_id)
        is_real = request.method == "POST"
        try:
            replayed = replay(integration, row, actor=person(request), now=instant(request), dry_run=not is_real)
        except DomainError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(self._event_page(integration, row))
        if is_real:
            lines = result_lines([replayed.results[0].as_json()])
            messages.success(request, f"Event {row.pk} was carried out again: {lines[0].look[2].lower()}.")
            return HttpResponseRedirect(self._event_page(integration, row))
        parts = [
            {"mapped": mapped, "asks": ASKS[mapped.action], "result": line}
            for mapped, line in zip(
                replayed.mapped.events[:SHOWN_PARTS],
                result_lines([result.as_json() for result in replayed.results[:SHOWN_PARTS]]),
                strict=False,
            )
        ]
        context = self._page(request, integration, f"Replay event {row.pk}?") | {
            "event": row,
            "recognized": label_of(replayed.mapped.preset),
            "parts": parts,
            "more_parts": max(0, len(replayed.results) - SHOWN_PARTS),
            "fault": replayed.fault,
            "before": result_lines(row.result[:SHOWN_PARTS]),
        }
        return TemplateResponse(request, f"{_FOLDER}/replay.html", context)

    def mapping_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the mapping and the rules beside a sample (GET), try them on it, or save them (POST with `_save`)."""
        integration = self.integration_with_events(request, object_id)
        if request.method not in {"GET", "HEAD", "POST"}:
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        is_sent, is_saved = request.method == "POST", "_save" in request.POST
        form = MappingForm(request.POST if is_sent else None, stored=integration.event_settings)
        editor = RuleForm(request.POST if is_sent else None, organization_id=integration.organization_id)
        if is_sent and form.is_valid():
            form, editor = _with_changed_rules(request, integration, form, editor)
        if is_saved and form.is_valid() and editor.is_ready and not is_search(request.POST):
            try:
                update_event_integration(integration, actor=person(request), now=instant(request), **form.settings())
            except FieldError as error:
                form.add_service_error(error)
            except DomainError as error:
                messages.error(request, str(error))
                return HttpResponseRedirect(request.path)
            else:
                messages.success(request, "The mapping and the rules are saved. They hold for the next events.")
                return HttpResponseRedirect(self.page_of(integration))
        context = self._page(request, integration, "Mapping and rules") | {
            "form": form,
            "editor": editor,
            "example": EXAMPLE,
            "numbered": _numbered(integration.organization_id),
            "is_refused": is_saved,
            **_sample(request, integration, form if is_sent else None),
        }
        is_live = request.headers.get("X-Requested-With") == "fetch"
        return TemplateResponse(request, f"{_FOLDER}/{'mapping_results' if is_live else 'mapping'}.html", context)

    # -- shared ----------------------------------------------------------------------------------------------------
    def integration_to_change(self, request: HttpRequest, object_id: str) -> InboundIntegration:
        """Return an integration that the user may change. Raises PermissionDenied, and Http404."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        integration: InboundIntegration = self.get_object(request, object_id)
        return integration

    def integration_with_events(self, request: HttpRequest, object_id: str) -> InboundIntegration:
        """Return an integration of another type than heartbeat. Raises PermissionDenied, and Http404."""
        integration = self.integration_to_change(request, object_id)
        if integration.is_heartbeat:
            raise Http404
        return integration

    def _page(self, request: HttpRequest, integration: InboundIntegration, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            **self._words(),
            "opts": self.opts,
            "title": title,
            "original": integration,
            "integration": integration,
            "now": instant(request),
        }

    def _event_page(self, integration: InboundIntegration, row: InboundEvent) -> str:
        return reverse(f"admin:{_NAME}_event", args=[integration.pk, row.pk])


def event_of(integration: InboundIntegration, event_id: int) -> InboundEvent:
    """Return one event of an integration. Raises Http404."""
    row = events_of(integration).filter(pk=event_id).first() if event_id < 2**63 else None
    if row is None:
        raise Http404
    return row


def last_events(integration: InboundIntegration) -> QuerySet[InboundEvent]:
    """Return the newest events of an integration, without their bodies."""
    return events_of(integration).defer("raw")[:SHOWN_EVENTS]


def _numbered(organization_id: int) -> dict[str, QuerySet[Any]]:
    """Return what rules can name by number, under their names for it."""
    models: dict[str, type[Model]] = {
        "escalation_policy": EscalationPolicy,
        "response_play": ResponsePlay,
        "recipient_groups": Group,
        "recipient_users": User,
    }
    return {
        name: model._default_manager.filter(organization_id=organization_id).order_by("name", "pk")[:SHOWN_NUMBERS]  # noqa: SLF001 - Django's name
        for name, model in models.items()
    }


def _sample(request: HttpRequest, integration: InboundIntegration, form: MappingForm | None) -> dict[str, Any]:
    """Return the chosen sample, or the newest event, or the example of the page, and what is read in it."""
    chosen = (request.POST if form is not None else request.GET).get("event", "")
    if chosen and not (chosen.isascii() and chosen.isdecimal() and len(chosen) <= MAX_DIGITS):
        raise Http404
    row = event_of(integration, int(chosen)) if chosen else events_of(integration).first()
    try:
        event = stored(row) if row else sample(NEWCOMERS_EVENT, {}, now=instant(request))
        results, mapped = tried(integration, event, form)
    except CannotBeDecoded as error:
        return {"sample": row, "samples": last_events(integration), "sample_error": str(error)}
    tree, left_out = tree_of(event.payload)
    first = mapped.events[0] if mapped else None
    rules = integration.event_settings.rules if form is None else form.cleaned_data.get("rules") or []
    return {
        "sample": row,
        "samples": last_events(integration),
        "tree": tree,
        "left_out": left_out,
        "max_lines": MAX_LINES,
        "results": results,
        "recognized": label_of(mapped.preset) if mapped else "",
        "asks": ASKS[first.action] if first else "",
        "faults": {fault.field: fault.text for fault in first.faults} if first else {},
        "rule_list": [
            {"name": rule.get("name", ""), "words": in_words(rule), "holds": bool(first and number in first.rules)}
            for number, rule in enumerate(rules, 1)
        ],
    }


def _with_changed_rules(
    request: HttpRequest, integration: InboundIntegration, form: MappingForm, editor: RuleForm
) -> tuple[MappingForm, RuleForm]:
    """Return the forms after the button that was pressed: a rule that was filled in is put into the list before.

    If it has errors, nothing else changes.
    """
    stored, organization_id = integration.event_settings, integration.organization_id
    change = request.POST.get("_rules", "")
    what, _, number = change.partition(":")
    rules = form.cleaned_data["rules"]
    if what in {"row", "unrow"} or is_search(request.POST):
        editor.change_rows(change)
        return form, editor
    if editor.is_filled and what != "drop":
        rules = editor.put_into(rules)
        if editor.errors:
            return form, editor
    editor = RuleForm(organization_id=organization_id)
    if what == "edit":
        index = place(number, rules)
        if index is not None and is_editable(rules[index]):
            editor = RuleForm(organization_id=organization_id, rule={**rules[index], "number": index + 1})
    return form.with_rules(changed(rules, change), stored=stored), editor


def newest_events(integration: InboundIntegration) -> dict[str, Any]:
    """Return what the list of the newest events shows."""
    return {"lines": event_lines(last_events(integration))}
