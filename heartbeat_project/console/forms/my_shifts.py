"""Forms for being out of office and for reminders of on-call shifts."""

from decimal import Decimal
from typing import Any

from django import forms

from accounts.admin.base import time_field
from accounts.models.groups import Group
from accounts.models.users import User
from escalation.notifications.notices.on_call_reminders import MAX_HOURS
from heartbeat_project.kernel.choice_fields import RowChoice


class OutOfOfficeForm(forms.Form):
    """Enter when the person is out of office, and who is notified instead."""

    starts_at = time_field("From")
    ends_at = time_field("Until")
    cover = RowChoice(User.objects.none(), label="Who is notified instead", empty_label="Choose a person")
    group = RowChoice(Group.objects.none(), label="In which group", required=False, empty_label="In all groups")

    def __init__(self, *args: Any, actor: User, **options: Any) -> None:
        super().__init__(*args, **options)
        others = User.objects.filter(organization_id=actor.organization_id, is_active=True).exclude(pk=actor.pk)
        self.fields["cover"].queryset = others  # type: ignore[attr-defined]
        self.fields["group"].queryset = Group.objects.filter(members__user=actor).distinct()  # type: ignore[attr-defined]


class ReminderForm(forms.Form):
    """Choose how long before an on-call shift the person is reminded, and whether changes are announced."""

    remind_hours = forms.DecimalField(
        label="Remind me before a shift (hours)",
        required=False,
        min_value=Decimal("0.1"),
        max_value=MAX_HOURS,
        max_digits=4,
        decimal_places=1,
        widget=forms.NumberInput(attrs={"step": "0.1", "inputmode": "decimal"}),
        help_text="One e-mail before each of your shifts. Empty: no reminder.",
    )
    shift_notices = forms.BooleanField(
        label="Notify me when somebody puts me on a shift or makes me a cover", required=False
    )
