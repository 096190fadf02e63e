"""What people see and say about their own duty: turns, out of office, reminders, the calendar's address."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models import ContactMethod, Group, GroupMember, GroupRole, User
from accounts.selectors import failing_methods
from accounts.services import choose_shift_notices
from escalation.api.feeds import feed_url
from escalation.on_call import turns_of
from escalation.selectors import unreadable_calendars
from escalation.services.absences import create_absence, delete_absence
from escalation.services.calendars import feed_of, rotate_feed
from escalation.services.reminders import set_reminder, wished_hours
from escalation.shift_models import OutOfOffice
from heartbeat_project.console.asking import asking, asks_first
from heartbeat_project.console.forms import OutOfOfficeForm, ReminderForm
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError, FieldError

AHEAD: Final = timedelta(days=62)
SHOWN_TURNS: Final = 8


def _page(request: HttpRequest, *, now: datetime, status: int = 200, **filled: Any) -> HttpResponse:
    user = signed_in(request)
    turns = turns_of(user, starts_at=now, ends_at=now + AHEAD)
    absences = OutOfOffice.objects.select_related("cover", "group", "user")
    groups = Group.objects.filter(pk__in=user.memberships.values("group"))
    context = {
        "here": "duty",
        "groups": groups,
        "unreadable": unreadable_calendars(group.pk for group in groups),
        "now": now,
        "failing": _failing(user),
        "turns": turns[:SHOWN_TURNS],
        "further_turns": len(turns[SHOWN_TURNS:]),
        "turns_end_at": now + AHEAD,
        "absences": absences.filter(user=user, ends_at__gt=now),
        "covering": absences.filter(cover=user, ends_at__gt=now),
        "absence_form": OutOfOfficeForm(actor=user),
        "reminder_form": ReminderForm(
            initial={"remind_hours": wished_hours(user), "shift_notices": user.shift_notices}
        ),
        "feed_url": feed_url(feed_of(user=user)),
    }
    return render(request, "console/duty.html", context | filled, status=status)


def _failing(user: User) -> QuerySet[ContactMethod]:
    """Return what fails of the person's own contact methods, and of the groups that they manage."""
    managed = user.memberships.filter(role=GroupRole.MANAGER).values("group")
    members = GroupMember.objects.filter(group__in=managed).values("user")
    concerned = Q(user=user) | Q(user__in=members) | Q(group__in=managed)
    return failing_methods(user.organization).filter(concerned)


@login_required
@never_cache
@require_safe
def duty(request: HttpRequest) -> HttpResponse:
    """Show when the person is on call."""
    return _page(request, now=clock.now())


@login_required
@never_cache
@require_POST
@asks_first(back="/on-call/")
def add_absence(request: HttpRequest) -> HttpResponse:
    """Enter when the person is out of office."""
    user, now = signed_in(request), clock.now()
    form = OutOfOfficeForm(request.POST, actor=user)
    if form.is_valid():
        try:
            with asking(request, user, user=user, now=now):
                entry = create_absence(user, actor=user, now=now, **form.cleaned_data)
        except DomainError as error:
            field = error.field if isinstance(error, FieldError) and error.field in form.fields else None
            form.add_error(field, str(error))
        else:
            messages.success(request, f"Entered: {entry.cover} is told instead of you.")
            return redirect("console:duty")
    return _page(request, now=now, status=400, absence_form=form)


@login_required
@never_cache
@require_POST
def delete_own_absence(request: HttpRequest, entry_id: int) -> HttpResponse:
    """Take an entry back."""
    user = signed_in(request)
    delete_absence(get_object_or_404(OutOfOffice.objects.select_related("user"), pk=entry_id, user=user), actor=user)
    messages.success(request, "Taken back: you are told again.")
    return redirect("console:duty")


@login_required
@never_cache
@require_POST
def save_reminder(request: HttpRequest) -> HttpResponse:
    """Set how long before a duty the person is reminded."""
    form = ReminderForm(request.POST)
    if form.is_valid():
        try:
            set_reminder(signed_in(request), hours=form.cleaned_data["remind_hours"])
            choose_shift_notices(signed_in(request), wanted=form.cleaned_data["shift_notices"])
        except FieldError as error:
            form.add_error("remind_hours", str(error))
        else:
            messages.success(request, "Saved.")
            return redirect("console:duty")
    return _page(request, now=clock.now(), status=400, reminder_form=form)


@login_required
@never_cache
@require_POST
def replace_feed(request: HttpRequest) -> HttpResponse:
    """Give the person's calendar a new address."""
    rotate_feed(feed_of(user=signed_in(request)))
    messages.success(request, "Your calendar has a new address; the old one is useless from now on.")
    return redirect("console:duty")
