"""The admin of shifts, their people and weekly windows."""

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
from accounts.models.users import User
from escalation.models.on_call import Shift, ShiftPerson, ShiftWindow, Weekday
from escalation.oncall.selectors import OnCallStatus, on_call_status_of
from escalation.oncall.shifts import PersonRule, WindowRule, create_shift, delete_shift, update_shift

# Keys of request.META: who is on call before a shift is saved, and the message about what saving it changed.
_ON_CALL_BEFORE = "heartbeat.on_call"
_SAVED_TEXT = "heartbeat.shift"

if TYPE_CHECKING:
    WindowModelForm = forms.ModelForm[ShiftWindow]
else:
    WindowModelForm = forms.ModelForm


def _names(people: Sequence[User]) -> str:
    return ", ".join(map(str, people)) or "nobody"


def _on_call_text(status: OnCallStatus) -> str:
    """Say who is on call, until when, and who follows; times are in the reader's time zone."""
    if status.until is None:
        return _names(status.notified)
    until = dateformat.format(timezone.localtime(status.until), "D j M Y, H:i")
    return f"{_names(status.notified)} until {until}, then {_names(status.notified_next)}"


def _saved_text(before: OnCallStatus, after: OnCallStatus) -> str:
    """Say who is on call after a change, and who was before if they are others."""
    earlier = "" if before.notified == after.notified else f" Until this change it was {_names(before.notified)}."
    return f"Saved. On call now: {_on_call_text(after)}.{earlier}"


class ShiftForm(ServiceForm):
    """A shift: its group, its kind, and when its people hand over."""

    starts_at = time_field("From", required=False, more_help=" Empty: it has no beginning.")
    ends_at = time_field(
        "Until",
        required=False,
        more_help=" Not included. A shorter shift wins over longer ones. Empty: it has no end.",
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
            "rotates_every": "Days, weeks or months",
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
    """The same time on some weekdays; the service validates it."""

    days = forms.MultipleChoiceField(choices=Weekday.choices, widget=forms.CheckboxSelectMultiple)
    # A TimeField does not accept 24:00.
    ends = forms.CharField(
        label="Until",
        max_length=8,
        help_text="24:00 is the end of the day.",
        widget=forms.TextInput(attrs={"size": 5, "placeholder": "18:00"}),
    )

    class Meta:
        model = ShiftWindow
        fields = ["days", "starts", "ends", "days_later"]
        labels = {"starts": "From", "days_later": "Days later"}
        help_texts = {
            "days_later": "How many days after its start it ends: 3 from a Friday to the Monday. With 0, an end that "
            "is not after the start is on the next day."
        }
        widgets = {"starts": forms.TimeInput(attrs={"type": "time"}, format="%H:%M")}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk is not None:
            self.initial["ends"], self.initial["days_later"] = self.instance.weekly.written_end

    def _post_clean(self) -> None:
        self.instance = construct_instance(self, self.instance, self._meta.fields, self._meta.exclude)


class WindowInline(OrganizationInline):
    """The weekly windows of the shift; without any it is on around the clock."""

    model = ShiftWindow
    form = WindowForm
    verbose_name = "window"
    verbose_name_plural = "Weekly windows (none: around the clock)"
    extra = 1


class PersonInline(OrganizationInline):
    """The people on the shift, in the order of their turns."""

    model = ShiftPerson
    fields = ("user", "role", "position")
    verbose_name = "person"
    verbose_name_plural = "People, in the order of their turns; Managers come from the group's members"
    extra = 2


@admin.register(Shift)
class ShiftAdmin(OrganizationAdmin):
    """Shifts of the organization. If shifts overlap, an override wins, then the shorter one."""

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
    list_display = (
        "name",
        "group",
        "kind",
        "is_override",
        "time_zone",
        moment("ends_at", "Until", empty="no end"),
        "trouble",
    )
    list_filter = ("kind", "is_override")
    linked_lookups = ("group__id__exact",)
    list_select_related = ("group",)
    search_fields = ("name", "group__name")

    def get_readonly_fields(self, request: HttpRequest, obj: Shift | None = None) -> tuple[str, ...]:
        return ("group", "calendar_state") if obj else ("calendar_state",)

    def get_fieldsets(self, request: HttpRequest, obj: Shift | None = None) -> Any:
        """Hide a calendar's address, which is often a secret, from users who may not change the shift."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is not None:
            if _ON_CALL_BEFORE not in request.META:
                request.META[_ON_CALL_BEFORE] = on_call_status_of(obj.group, at=instant(request))
            description = format_html("On call in {} now: {}.", obj.group, _on_call_text(request.META[_ON_CALL_BEFORE]))
            fieldsets = ((None, {**fieldsets[0][1], "description": description}), *fieldsets[1:])
        return fieldsets if self.has_change_permission(request, obj) else fieldsets[:-1]

    @admin.display(description="Calendar")
    def trouble(self, shift: Shift) -> str:
        """Return since when the calendar cannot be read or names nobody; "" if all is well."""
        since = shift.calendar_failing_since
        return f"{shift.calendar_trouble} since {timezone.localtime(since):%Y-%m-%d %H:%M}" if since else ""

    @admin.display(description="Last read")
    def calendar_state(self, shift: Shift) -> str:
        """Return when the calendar was last read, and what failed since."""
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
        before = on_call_status_of(group, at=now)
        saved = create_shift(group, **values) if stored is None else update_shift(stored, **values)
        request.META[_SAVED_TEXT] = _saved_text(before, on_call_status_of(group, at=now))
        return saved

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **options: Any) -> None:
        """Say who is on call after a shift was saved, instead of only that it was saved."""
        super().message_user(request, request.META.pop(_SAVED_TEXT, message), *args, **options)

    def delete_says(self, obj: Shift) -> str:
        return "The shift below it resumes at once, or the member list. It is possible that nobody is on call then."

    def delete_through(self, request: HttpRequest, obj: Shift, *, now: datetime) -> None:
        delete_shift(obj, actor=person(request))
