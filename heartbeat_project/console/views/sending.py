"""Alerts made by hand and their preview; "Coverage gaps", "Who would be notified?" and "Test who is notified"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.entitlements import Entitlement
from accounts.models.users import User
from accounts.permissions import may
from accounts.selectors import failing_methods
from alerting.models.alerts import TEST_LASTS, Alert
from alerting.selectors import live_test
from escalation.engine.manual import preview_alert, send_alert
from escalation.engine.preview import EscalationPreview
from escalation.oncall.selectors import AHEAD
from heartbeat_project.console.forms.alerts import FindForm
from heartbeat_project.console.forms.new_alert import NewAlertForm
from heartbeat_project.console.selectors import Recipients, find_recipients, page_number
from heartbeat_project.console.steps import StepRow, recipients_in
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.errors import DomainError, FieldError
from heartbeat_project.kernel.ids import new_token
from integrations.coverage.gaps import coverage_of
from integrations.coverage.reports import among, latest_coverage, store_coverage
from integrations.coverage.who_is_notified import who_would_be_notified
from integrations.heartbeats.paging_tests import preview_test, start_test
from integrations.heartbeats.selectors import may_preview
from integrations.models.integrations import InboundIntegration

PAGE_SIZE = 50  # integrations on a page of coverage gaps
PREVIEW_STEPS = 3  # steps beside the button; the page shows all of them below


def _steps(escalation_preview: EscalationPreview) -> list[tuple[datetime, list[StepRow], list[str]]]:
    """Return the steps of a preview: the time, the recipients, and notes about stages that reach nobody."""
    return [
        (preview_step.at, recipients_in(preview_step), preview_step.notes) for preview_step in escalation_preview.steps
    ]


@dataclass(frozen=True, slots=True)
class Preview:
    """Who would be notified of the alert in the form, or the reason why nobody can be.

    `first_names` are the people that the button counts: those who are notified at once, or as a last resort.
    """

    escalation_preview: EscalationPreview | None
    first_names: Sequence[str]
    why_nobody: str = ""

    @property
    def button(self) -> str:
        """The text of the button."""
        people = "1 person" if len(self.first_names) == 1 else f"{len(self.first_names)} people"
        return f"Send alert to {people}" if self.first_names else "Send alert"

    @property
    def first_steps(self) -> list[tuple[str, list[str]]]:
        """The first steps that notify anybody: the time in words, and the names."""
        if self.escalation_preview is None:
            return []
        steps = []
        for preview_step in self.escalation_preview.steps:
            wait = preview_step.at - self.escalation_preview.at
            time_text = f"In {in_words(wait)}" if wait > timedelta(0) else "Notified now"
            if names := list(dict.fromkeys(notification.name for notification in preview_step.notifications)):
                steps.append((time_text, names))
        return steps[:PREVIEW_STEPS]


def _preview(form: NewAlertForm, *, sender: User, now: datetime) -> Preview:
    if form.is_bound and not form.is_valid() and form.recipients_error:
        return Preview(None, [], form.recipients_error)
    try:
        escalation_preview = preview_alert(form.draft(), sender=sender, now=now)
    except FieldError as error:
        return Preview(None, [], str(error))
    names: dict[int, str] = {}
    for preview_step in escalation_preview.steps:
        if preview_step.at > now:
            continue
        for notification in preview_step.notifications:
            if notification.user_id is not None:
                names.setdefault(notification.user_id, notification.name)
    return Preview(escalation_preview, [*names.values(), *map(str, escalation_preview.instead)])


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def new_alert(request: HttpRequest) -> HttpResponse:
    """Show the form and whom it would notify; send the alert only if the page showed the current recipients."""
    sender, now = _sender(request), clock.now()
    if request.method != "POST":
        return _new_alert_page(request, NewAlertForm.suggested(sender), sender=sender, now=now)
    form = NewAlertForm(request.POST, sender=sender)
    wish = request.POST.get("wish", "preview")
    if wish == "find":
        return _new_alert_page(request, form, sender=sender, now=now)
    if form.is_valid() and wish == "send" and form.cleaned_data["previewed"] == form.route_key:
        try:
            alert = send_alert(form.draft(), sender=sender, now=now)
        except FieldError as error:
            form.refuse(error)
        else:
            messages.success(request, "Sent: the first people are notified now.")
            return redirect("console:alert", alert.pk)
    elif form.is_valid():
        try:
            preview_alert(form.draft(), sender=sender, now=now)
        except FieldError as error:
            form.refuse(error)
    status = 400 if form.errors else 200
    return _new_alert_page(request, form, sender=sender, now=now, unsent=wish == "send", status=status)


def _new_alert_page(
    request: HttpRequest, form: NewAlertForm, *, sender: User, now: datetime, unsent: bool = False, status: int = 200
) -> HttpResponse:
    """Render the form; `unsent` is true if the button was pressed beside a preview that is out of date."""
    is_search = request.POST.get("wish") == "find"
    preview_context = _preview_context(_preview(form, sender=sender, now=now), form, now=now)
    if is_search:
        form.errors.clear()  # empty fields are errors when the alert is sent, not while recipients are looked for
    unsent = unsent and not form.errors
    focus = form.first_error or "subject"
    if unsent:
        focus = "button"
    elif is_search:
        focus = "q"
    if focus in form.fields:
        form.fields[focus].widget.attrs["autofocus"] = True
    context = {
        "nav_item": "alerts",
        "form": form,
        "focus": focus,
        "unsent": unsent,
        "source_id": request.POST.get("source_id") or new_token(),
        "search_results": _search_recipients(request.POST.get("q", ""), form, sender=sender),
        "may_configure": may(sender, Entitlement.RULES_UPDATE),
        **preview_context,
    }
    return render(request, "console/new_alert.html", context, status=status)


def _preview_context(preview: Preview, form: NewAlertForm, *, now: datetime) -> dict[str, object]:
    escalation_preview = preview.escalation_preview
    steps = _steps(escalation_preview) if escalation_preview else []
    return {
        "preview": preview,
        "escalation_preview": escalation_preview,
        "steps": steps,
        "route_key": form.route_key,
        "now": now,
    }


@login_required
@never_cache
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """Return the preview of the form as a fragment, for the script that keeps it up to date."""
    sender, now = _sender(request), clock.now()
    form = NewAlertForm(request.POST, sender=sender)
    page_preview = _preview(form, sender=sender, now=now)
    return render(request, "console/new_alert_preview.html", _preview_context(page_preview, form, now=now))


@login_required
@never_cache
@require_safe
def recipients(request: HttpRequest) -> HttpResponse:
    """Return a few groups and people of the organization whose name contains `q`, as a fragment."""
    sender = _sender(request)
    return render(
        request,
        "console/new_alert_found.html",
        {"search_results": _search_recipients(request.GET.get("q", ""), sender=sender)},
    )


def _search_recipients(text: str, form: NewAlertForm | None = None, *, sender: User) -> Recipients:
    search = FindForm({"q": text})
    if not search.is_valid():
        return Recipients([], [], False)
    return find_recipients(
        sender.organization_id,
        search=search.cleaned_data["q"],
        not_groups=[group.pk for group in form.groups] if form else (),
        not_people=[user.pk for user in form.people] if form else (),
    )


def _sender(request: HttpRequest) -> User:
    sender = signed_in(request)
    if not may(sender, Entitlement.ALERTS_SEND):
        raise PermissionDenied
    return sender


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def coverage_gaps(request: HttpRequest) -> HttpResponse:
    """List integrations whose alerts would reach nobody now or in the next 14 days, and rotas with gaps.

    Of a large organization those that were found last are listed; POST looks for them anew.
    """
    user, now = signed_in(request), clock.now()
    if not may_preview(user):
        raise PermissionDenied
    if request.method == "POST":
        store_coverage(user.organization, coverage_of(user.organization, at=now))
        return redirect("console:coverage_gaps")
    coverage = latest_coverage(user.organization, now=now)
    gaps = coverage.gaps_from(now)
    integrations = among(gaps, organization_id=user.organization_id).order_by("name", "pk")
    page = Paginator(integrations, PAGE_SIZE).get_page(page_number(request.GET.get("page", "1")))
    context = {
        "nav_item": "alerts",
        "now": now,
        "count": page.paginator.count,
        "only_heartbeats": not integrations.exclude(type=InboundIntegration.Type.HEARTBEAT).exists(),
        "page": page,
        "rows": [(integration, gaps[integration.pk]) for integration in page],
        "groups": coverage.group_gaps_from(now),
        "failing": failing_methods(user.organization)[:PAGE_SIZE],
        "looked_until": coverage.looked_until if coverage.looked_until < coverage.at + AHEAD else None,
        "checked_at": coverage.at if coverage.at < now else None,
        "may_configure": may(user, Entitlement.INBOUND_INTEGRATIONS),
    }
    return render(request, "console/coverage_gaps.html", context)


@login_required
@never_cache
@require_safe
def preview_silence(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Show who would be notified if an alert of this integration opened now."""
    user, now = signed_in(request), clock.now()
    if not may_preview(user):
        raise PermissionDenied
    integration = _integration(user, integration_id)
    escalation_preview = who_would_be_notified(integration, at=now)
    context = {
        "nav_item": "alerts",
        "integration": integration,
        "escalation_preview": escalation_preview,
        "steps": _steps(escalation_preview),
        "now": now,
        "may_configure": may(user, Entitlement.INBOUND_INTEGRATIONS),
    }
    return render(request, "console/who_would_be_notified.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def test_paging(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Show whom a test of this integration would notify, and start it on POST."""
    user, now = signed_in(request), clock.now()
    if not may(user, Entitlement.INBOUND_INTEGRATIONS):
        raise PermissionDenied
    integration = _integration(user, integration_id)
    if request.method == "POST":
        try:
            alert = start_test(integration, actor=user, now=now)
        except DomainError as error:
            messages.error(request, str(error))
            return redirect("console:test_paging", integration.pk)
        messages.success(
            request, "The test has started: the first people are notified now. Below you see who got what, and when."
        )
        return redirect("console:alert", alert.pk)
    escalation_preview = preview_test(integration, at=now)
    context = {
        "nav_item": "alerts",
        "integration": integration,
        "escalation_preview": escalation_preview,
        "steps": _steps(escalation_preview),
        "running": Alert.objects.filter(live_test(), integration_id=integration.pk).first(),
        "why_refused": next((problem.text for problem in escalation_preview.problems if problem.code == "refused"), ""),
        "lasts": in_words(TEST_LASTS),
        "now": now,
    }
    return render(request, "console/test_paging.html", context)


def _integration(user: User, integration_id: int) -> InboundIntegration:
    return get_object_or_404(InboundIntegration, pk=integration_id, organization_id=user.organization_id)
