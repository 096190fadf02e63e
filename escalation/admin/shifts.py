"""Shifts with their people and weekly windows."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.forms.models import construct_instance
from django.http import HttpRequest
from django.utils import dateformat, timezone
from django.utils.html import format_html

from accounts.admin.base import (
    OrganizationAdmin,
    OrganizationInline,
    ServiceForm,
    instant,
    moment,
    person,
    rows_of,
    time_field,
)
from accounts.entitlements import Entitlement
from accounts.models import User
from escalation.on_call import Standing, standing_of
from escalation.services.shifts import PersonRule, WindowRule, create_shift, delete_shift, update_shift
from escalation.shift_models import Shift, ShiftPerson, ShiftWindow, Weekday

# Where a request carries who is on call before a shift is saved, and what saving it did.
_STANDS = "heartbeat.on_call"
_SAID = "heartbeat.shift"

if TYPE_CHECKING:
    WindowModelForm = forms.ModelForm[ShiftWindow]
else:
    WindowModelForm = forms.ModelForm


def _names(people: Sequence[User]) -> str:
    return ", ".join(map(str, people)) or "nobody"


def _who(standing: Standing) -> str:
    """Say who is on call, until when, and who follows; times are in the reader's zone."""
    if standing.until is None:
        return _names(standing.notified)
    until = dateformat.format(timezone.localtime(standing.until), "D j M Y, H:i")
    return f"{_names(standing.notified)} until {until}, then {_names(standing.notified_next)}"


def _change(before: Standing, after: Standing) -> str:
    """Say who is on call after a change, and who was until then where it is somebody else."""
    was = "" if before.notified == after.notified else f" Until this change it was {_names(before.notified)}."
    return f"Saved. On call now: {_who(after)}.{was}"


class ShiftForm(ServiceForm):
    """Whose shift it is, and when its people take turns."""

    starts_at = time_field("From", required=False, help_text="In your own time zone. Empty: it has always been.")
    ends_at = time_field(
        "Until", required=False, help_text="Not included. A shorter shift wins over longer ones. Empty: it goes on."
    )

    class Meta:
        model = Shift
        fields = [
            "group",
            "name",
            "kind",
            "time_zone",
            "starts_at",
            "ends_at",
            "rotates_every",
            "rotates_count",
            "first_handoff_on",
            "handoff_time",
            "people_at_once",
            "calendar_url",
            "is_override",
        ]
        labels = {
            "rotates_every": "Turns are counted in",
            "rotates_count": "Hand over every",
            "first_handoff_on": "First hand-off",
            "handoff_time": "Hand-off time",
            "people_at_once": "People on at once",
            "calendar_url": "Calendar address",
            "is_override": "Override",
        }
        widgets = {
            "first_handoff_on": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
            "handoff_time": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk is None and "time_zone" in self.fields:
            self.fields["time_zone"].initial = self.request.user.organization.time_zone  # type: ignore[union-attr] # signed in


class WindowForm(WindowModelForm):
    """The same time on some weekdays; the service says what is wrong with it."""

    days = forms.MultipleChoiceField(choices=Weekday.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ShiftWindow
        fields = ["days", "starts", "ends", "days_later"]
        labels = {"starts": "From", "ends": "Until", "days_later": "Ends days later"}
        widgets = {
            "starts": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
            "ends": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        }

    def _post_clean(self) -> None:
        self.instance = construct_instance(self, self.instance, self._meta.fields, self._meta.exclude)


class WindowInline(OrganizationInline):
    """When the shift is on; none: around the clock."""

    model = ShiftWindow
    form = WindowForm
    verbose_name = "window"
    verbose_name_plural = "Weekly windows (none: around the clock)"
    extra = 1


class PersonInline(OrganizationInline):
    """Who is on the shift, in the order of their turns."""

    model = ShiftPerson
    fields = ("user", "role", "position")
    verbose_name = "person"
    verbose_name_plural = "People, in the order of their turns; Managers come from the group's members"
    extra = 2


@admin.register(Shift)
class ShiftAdmin(OrganizationAdmin):
    """Shifts: where they overlap, an override wins, then the shorter one, and then the longer one resumes."""

    singular, plural = "Shift", "Shifts"
    warns = True
    view_needs = (Entitlement.GROUPS_VIEW_ALL,)
    change_needs = (Entitlement.GROUPS_UPDATE_ALL,)
    organization_path = "group__organization"
    form = ShiftForm
    fieldsets = (
        (None, {"fields": ("group", "name", "kind", "time_zone", "is_override")}),
        ("From and until", {"classes": ("collapse",), "fields": ("starts_at", "ends_at")}),
        (
            "Turns (rotating shifts)",
            {
                "classes": ("collapse",),
                "fields": ("rotates_count", "rotates_every", "first_handoff_on", "handoff_time", "people_at_once"),
            },
        ),
        ("Calendar (calendar shifts)", {"classes": ("collapse",), "fields": ("calendar_url", "calendar_state")}),
    )
    inlines = (PersonInline, WindowInline)
    list_display = ("name", "group", "kind", "is_override", "time_zone", moment("ends_at", "Until"), "trouble")
    list_filter = ("kind", "is_override")
    list_select_related = ("group",)
    search_fields = ("name", "group__name")

    def get_readonly_fields(self, request: HttpRequest, obj: Shift | None = None) -> tuple[str, ...]:
        return ("group", "calendar_state") if obj else ("calendar_state",)

    def get_fieldsets(self, request: HttpRequest, obj: Shift | None = None) -> Any:
        """Hide a calendar's address, often a secret, from who may only look."""
        found = super().get_fieldsets(request, obj)
        if obj is not None:
            if _STANDS not in request.META:
                request.META[_STANDS] = standing_of(obj.group, at=instant(request))
            said = format_html("On call in {} now: {}.", obj.group, _who(request.META[_STANDS]))
            found = ((None, {**found[0][1], "description": said}), *found[1:])
        return found if self.has_change_permission(request, obj) else found[:-1]

    @admin.display(description="Calendar")
    def trouble(self, shift: Shift) -> str:
        """Return since when the calendar cannot be read; nothing where all is well."""
        since = shift.calendar_failing_since
        return f"cannot be read since {timezone.localtime(since):%Y-%m-%d %H:%M}" if since else ""

    @admin.display(description="Last read")
    def calendar_state(self, shift: Shift) -> str:
        """Return when the calendar was read, and what failed since."""
        if shift.kind != Shift.Kind.CALENDAR:
            return "not a calendar shift"
        read = f"{shift.calendar_read_at:%Y-%m-%d %H:%M} UTC" if shift.calendar_read_at else "not yet"
        return f"{read}. {shift.calendar_error}".rstrip(". ")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        return {"first_handoff_on": instant(request).date(), **initial}

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> Shift:
        rows: dict[Any, list[dict[str, Any]]] = {formset.model: list(rows_of(formset)) for formset in formsets}
        people = sorted(rows.get(ShiftPerson, []), key=lambda row: row.get("position") or 0)
        values = {
            "actor": person(request),
            "now": now,
            "people": [PersonRule(user=row["user"].pk, role=row["role"]) for row in people],
            "windows": [WindowRule(**row) for row in rows.get(ShiftWindow, [])],
            **form.cleaned_data,
        }
        group = stored.group if stored is not None else values.pop("group")
        before = standing_of(group, at=now)
        saved = create_shift(group, **values) if stored is None else update_shift(stored, **values)
        request.META[_SAID] = _change(before, standing_of(group, at=now))
        return saved

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **options: Any) -> None:
        """Say what a saved shift means instead of that it was saved."""
        super().message_user(request, request.META.pop(_SAID, message), *args, **options)

    def delete_says(self, obj: Shift) -> str:
        return "What it lies upon resumes at once: another shift, or the member list. Nobody else may be on call then."

    def delete_through(self, request: HttpRequest, obj: Shift, *, now: datetime) -> None:
        delete_shift(obj, actor=person(request))
