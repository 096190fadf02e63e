"""The filters of the audit log."""

from datetime import MAXYEAR, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from accounts.models.audit import OBJECT_TYPES
from accounts.models.users import User
from accounts.selectors import AuditFilter
from heartbeat_project.kernel.choice_fields import RowChoice
from heartbeat_project.kernel.ids import MAX_ID


class AuditLogForm(forms.Form):
    """Who, what and when; days are those of the reader's time zone, and both are included."""

    actor = RowChoice(User.objects.none(), label="Who", required=False, empty_label="Everybody")
    object_type = forms.ChoiceField(
        label="What",
        required=False,
        choices=[("", "Everything"), *((name, name.replace("_", " ").capitalize()) for name in OBJECT_TYPES)],
    )
    object_id = forms.IntegerField(required=False, min_value=1, max_value=MAX_ID, widget=forms.HiddenInput)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="Until", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    older = forms.IntegerField(required=False, min_value=1, max_value=MAX_ID, widget=forms.HiddenInput)

    def __init__(self, *args: Any, reader: User, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        actor: Any = self.fields["actor"]
        actor.queryset = User.objects.filter(organization_id=reader.organization_id)

    def filters(self) -> AuditFilter:
        """Return the filter of a valid form."""
        chosen = self.cleaned_data
        after, before = filter_times(chosen["since"], chosen["until"])
        return AuditFilter(
            actor=chosen["actor"].pk if chosen["actor"] else None,
            object_type=chosen["object_type"],
            object_id=chosen["object_id"],
            after=after,
            before=before,
        )

    def clean_until(self) -> Any:
        """Refuse the last day of the calendar, which no day follows."""
        return day_before_last(self.cleaned_data["until"])


def day_before_last(day: date | None) -> date | None:
    """Return the day. Raises ValidationError for one in the last year of the calendar, which no day may follow."""
    if day is not None and day.year == MAXYEAR:
        raise forms.ValidationError("Enter an earlier date.")
    return day


def filter_times(since: date | None, until: date | None) -> tuple[datetime | None, datetime | None]:
    """Return when the first day begins and the last one has ended, in the reader's time zone."""
    return _beginning(since) if since else None, _beginning(until + timedelta(days=1)) if until else None


def _beginning(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())
