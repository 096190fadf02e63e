"""The page "My shifts": one's own on-call shifts, absences, reminders and calendar address."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import Group, GroupMember, GroupRole
from accounts.models.users import User
from accounts.selectors import failing_methods
from accounts.services.users import choose_shift_notices
from escalation.api.calendar_feeds import feed_url
from escalation.models.on_call import OutOfOffice
from escalation.notifications.notices.on_call_reminders import set_reminder, wished_hours
from escalation.oncall.absences import create_absence, delete_absence
from escalation.oncall.calendars.feeds import feed_of, rotate_feed
from escalation.oncall.selectors import on_call_periods_of, unreadable_calendars
from heartbeat_project.console.asking import ask_before, asks_first
from heartbeat_project.console.forms.my_shifts import OutOfOfficeForm, ReminderForm
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError, FieldError

AHEAD: Final = timedelta(days=62)  # two months of on-call periods
MAX_PERIODS: Final = 8  # listed; the calendar has the others


def _page(request: HttpRequest, *, now: datetime, status: int = 200, **overrides: Any) -> HttpResponse:
    """Render the page; `overrides` are forms with errors, which replace empty ones in the context."""
    user = signed_in(request)
    periods = on_call_periods_of(user, starts_at=now, ends_at=now + AHEAD)
    absences = OutOfOffice.objects.select_related("cover", "group", "user")
    groups = Group.objects.filter(pk__in=user.memberships.values("group"))
    context = {
        "nav_item": "my_shifts",
        "groups": groups,
        "unreadable": unreadable_calendars(group.pk for group in groups),
        "now": now,
        "failing": _failing(user),
        "periods": periods[:MAX_PERIODS],
        "further_periods": len(periods[MAX_PERIODS:]),
        "periods_end_at": now + AHEAD,
        "absences": absences.filter(user=user, ends_at__gt=now),
        "covering": absences.filter(cover=user, ends_at__gt=now),
        "absence_form": OutOfOfficeForm(actor=user),
        "reminder_form": ReminderForm(
            initial={"remind_hours": wished_hours(user), "shift_notices": user.shift_notices}
        ),
        "feed_url": feed_url(feed_of(user=user)),
    }
    return render(request, "console/my_shifts.html", context | overrides, status=status)


def _failing(user: User) -> QuerySet[ContactMethod]:
    """Return failing contact methods: the user's own, and those of the groups that they manage and their members."""
    managed = user.memberships.filter(role=GroupRole.MANAGER).values("group")
    members = GroupMember.objects.filter(group__in=managed).values("user")
    condition = Q(user=user) | Q(user__in=members) | Q(group__in=managed)
    return failing_methods(user.organization).filter(condition)


@login_required
@never_cache
@require_safe
def my_shifts(request: HttpRequest) -> HttpResponse:
    """Show when the user is on call."""
    return _page(request, now=clock.now())


@login_required
@never_cache
@require_POST
@asks_first(back="console:my_shifts")
def add_absence(request: HttpRequest) -> HttpResponse:
    """Save when the user is out of office, and who covers."""
    user, now = signed_in(request), clock.now()
    form = OutOfOfficeForm(request.POST, actor=user)
    if form.is_valid():
        try:
            with ask_before(request, user, user=user, now=now):
                entry = create_absence(user, actor=user, now=now, **form.cleaned_data)
        except DomainError as error:
            field = error.field if isinstance(error, FieldError) and error.field in form.fields else None
            form.add_error(field, str(error))
        else:
            messages.success(request, f"Saved. {entry.cover} will be notified instead of you.")
            return redirect("console:my_shifts")
    return _page(request, now=now, status=400, absence_form=form)


@login_required
@never_cache
@require_POST
def delete_own_absence(request: HttpRequest, entry_id: int) -> HttpResponse:
    """Delete one of the user's own absences."""
    user = signed_in(request)
    delete_absence(get_object_or_404(OutOfOffice.objects.select_related("user"), pk=entry_id, user=user), actor=user)
    messages.success(request, "Cancelled: you are notified again.")
    return redirect("console:my_shifts")


@login_required
@never_cache
@require_POST
def save_reminder(request: HttpRequest) -> HttpResponse:
    """Save how long before an on-call shift the user is reminded, and whether changes are announced."""
    form = ReminderForm(request.POST)
    if form.is_valid():
        try:
            set_reminder(signed_in(request), hours=form.cleaned_data["remind_hours"])
            choose_shift_notices(signed_in(request), enabled=form.cleaned_data["shift_notices"])
        except FieldError as error:
            form.add_error("remind_hours", str(error))
        else:
            messages.success(request, "Saved.")
            return redirect("console:my_shifts")
    return _page(request, now=clock.now(), status=400, reminder_form=form)


@login_required
@never_cache
@require_POST
def replace_feed(request: HttpRequest) -> HttpResponse:
    """Replace the address of the user's calendar."""
    rotate_feed(feed_of(user=signed_in(request)))
    messages.success(request, "Your calendar has a new address. The old one does not work any more.")
    return redirect("console:my_shifts")
