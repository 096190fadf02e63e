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
        until = chosen["until"]
        return AuditFilter(
            actor=chosen["actor"].pk if chosen["actor"] else None,
            object_type=chosen["object_type"],
            object_id=chosen["object_id"],
            after=_beginning(chosen["since"]) if chosen["since"] else None,
            before=_beginning(until + timedelta(days=1)) if until else None,
        )

    def clean_until(self) -> Any:
        """Refuse the last day of the calendar, which no day follows."""
        until = self.cleaned_data["until"]
        if until is not None and until.year == MAXYEAR:
            raise forms.ValidationError("Enter an earlier date.")
        return until


def _beginning(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())
