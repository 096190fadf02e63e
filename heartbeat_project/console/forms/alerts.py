"""Forms that find alerts and act on one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models.groups import Group
from accounts.models.users import User
from alerting.services.alerts import REASON_LENGTH
from escalation.engine.reachable import why_not_reached
from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.responses import holds
from heartbeat_project.kernel.choice_fields import RowChoice, RowChoices


class FindForm(forms.Form):
    """The search for recipients of a new alert."""

    q = forms.CharField(required=False, max_length=100)


class AssignForm(forms.Form):
    """Choose the new owner of an alert; the list says who would not be notified, and why."""

    user = RowChoice(User.objects.none(), label="Assign to", empty_label="Choose a person")

    def __init__(
        self, *args: Any, actor: User, integration_id: int | None, priority: str, now: datetime, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        active = User.objects.filter(organization_id=actor.organization_id, is_active=True)
        people = active.exclude(kind=User.Kind.STAKEHOLDER)

        def labels(users: Sequence[User]) -> list[str]:
            reasons = why_not_reached(users, integration_id=integration_id, priority=priority, now=now)
            return [" ".join([f"{user}:", *reasons[user.pk]]) if user.pk in reasons else str(user) for user in users]

        field: Any = self.fields["user"]
        field.queryset = people
        field.labels_of = labels


class HoldForm(forms.Form):
    """Choose until when an alert is on hold; without a choice it is until somebody resumes it."""

    until = forms.CharField(required=False, max_length=10)
    time = forms.CharField(required=False, max_length=40)

    def __init__(self, *args: Any, now: datetime, **options: Any) -> None:
        super().__init__(*args, **options)
        self._now = now

    def clean(self) -> dict[str, Any]:
        """Turn choice and time into one `until`; None if the hold has no end."""
        cleaned = super().clean() or {}
        zone = timezone.get_current_timezone()
        try:
            until = holds.chosen(cleaned.get("until", ""), cleaned.get("time", ""), now=self._now, zone=zone)
        except ValueError:
            raise ValidationError({"until": "Choose a date and a time."}) from None
        return {"until": until}


class ReasonForm(forms.Form):
    """The reason why an alert is closed or cancelled."""

    reason = forms.CharField(required=False, max_length=REASON_LENGTH, label="Reason (optional)")


class ReplyForm(forms.Form):
    """A note for the timeline."""

    text = forms.CharField(max_length=4_000, label="Note", widget=forms.Textarea(attrs={"rows": 3}))


class ReassignForm(forms.Form):
    """Choose the groups or the policy with which the escalation starts again."""

    groups = RowChoices(Group.objects.none(), required=False, label="Groups")
    escalation_policy = RowChoice(
        EscalationPolicy.objects.none(), required=False, label="Escalation Policy", empty_label="The one it follows now"
    )

    def __init__(self, *args: Any, actor: User, **options: Any) -> None:
        super().__init__(*args, **{"prefix": "reassign", **options})
        _set_choices(self, "groups", Group.objects.filter(organization_id=actor.organization_id))
        policies = EscalationPolicy.objects.filter(organization_id=actor.organization_id, enabled=True)
        _set_choices(self, "escalation_policy", policies)


class RespondersForm(forms.Form):
    """Choose further people, groups or a play to notify."""

    users = RowChoices(User.objects.none(), required=False, label="People")
    groups = RowChoices(Group.objects.none(), required=False, label="Groups")
    response_play = RowChoice(ResponsePlay.objects.none(), required=False, label="Response Play", empty_label="No play")

    def __init__(self, *args: Any, actor: User, **options: Any) -> None:
        super().__init__(*args, **{"prefix": "responders", **options})
        _set_choices(self, "users", User.objects.filter(organization_id=actor.organization_id, is_active=True))
        _set_choices(self, "groups", Group.objects.filter(organization_id=actor.organization_id))
        plays = ResponsePlay.objects.filter(organization_id=actor.organization_id, enabled=True)
        _set_choices(self, "response_play", plays)


def _set_choices(form: forms.Form, field: str, rows: Any) -> None:
    form.fields[field].queryset = rows  # type: ignore[attr-defined]
