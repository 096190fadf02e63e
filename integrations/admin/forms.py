"""The form of a heartbeat integration, in the order in which it is filled in."""

from decimal import Decimal
from typing import Any

from django import forms

from accounts.admin.base import CheckBoxes, ServiceForm, organization_of
from accounts.models import Group, User
from alerting.models import Bridge
from escalation.models import EscalationPolicy, ResponsePlay
from integrations.models import Heartbeat, InboundIntegration
from integrations.services.heartbeats import MAX_INTERVAL, MIN_INTERVAL

_POLICY, _PLAY = "policy", "play"


class HeartbeatForm(ServiceForm):
    """What a heartbeat integration is made of; its names of fields are the service's, but for `follows`."""

    shown_at = {"escalation_policy": "follows", "response_play": "follows"}

    follows = forms.ChoiceField(
        label="Escalation Policy / Response Play",
        error_messages={"required": "Choose an escalation policy or a response play."},
        help_text="Who is told, and when, while the heartbeat stays silent.",
    )
    interval_minutes = forms.DecimalField(
        label="Heartbeat Interval (minutes)",
        min_value=MIN_INTERVAL,
        max_value=MAX_INTERVAL,
        max_digits=6,
        decimal_places=1,
        widget=forms.NumberInput(attrs={"step": "0.1", "inputmode": "decimal"}),
        help_text="How often the job pings: 0.1 (six seconds) to 44,640 (31 days).",
        error_messages={
            "required": "Enter the interval in minutes.",
            "min_value": "The shortest interval is 0.1 minutes (six seconds).",
            "max_value": "The longest interval is 44,640 minutes (31 days).",
            "max_decimal_places": "One decimal place is the limit: 0.1 minutes are six seconds.",
        },
    )
    grace_minutes = forms.DecimalField(
        label="Grace (minutes)",
        min_value=Decimal(0),
        max_value=MAX_INTERVAL,
        max_digits=6,
        decimal_places=1,
        required=False,
        initial=0,
        widget=forms.NumberInput(attrs={"step": "0.1", "inputmode": "decimal"}),
        help_text="How much later than the interval a ping may come before the alert opens.",
    )
    start_timer = forms.ChoiceField(
        label="Start the timer",
        choices=Heartbeat.StartTimer.choices,
        required=False,
        initial=Heartbeat.StartTimer.WHEN_ENABLED,
        help_text="“When enabled” also finds a job that never runs at all.",
    )
    allow_get = forms.BooleanField(
        label="Accept GET/HEAD pings",
        required=False,
        help_text="For jobs that cannot POST. Link previews and scanners can then ping by mistake.",
    )

    class Meta:
        model = InboundIntegration
        fields = ["name", "recipient_groups", "recipient_users", "bridge", "enabled"]
        widgets = {"recipient_groups": CheckBoxes, "recipient_users": CheckBoxes}
        error_messages = {"name": {"required": "Enter a name for the integration."}}
        help_texts = {
            "name": "Unique among the inbound integrations; the alert is named after it.",
            "recipient_groups": "Their members are told in the order of the policy: Primary, Secondary, Manager.",
            "recipient_users": "Told at once, as Primary.",
            "bridge": "A conference line that travels with the alert.",
            "enabled": "A disabled integration records pings, but no timer runs.",
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        organization = organization_of(self.request)
        users = User.objects.filter(organization=organization)
        named = users.filter(pk__in=self.instance.recipient_users.values("pk")) if self.instance.pk else users.none()
        self._offer("recipient_groups", Group.objects.filter(organization=organization))
        self._offer("recipient_users", users.filter(is_active=True) | named)
        self._offer("bridge", Bridge.objects.filter(organization=organization))
        self.fields["recipient_users"].label_from_instance = _name_and_email  # type: ignore[attr-defined]
        self.fields["bridge"].empty_label = "No bridge"  # type: ignore[attr-defined]
        self.fields["name"].widget.attrs["autocomplete"] = "off"
        self.fields["follows"].choices = self._policies_and_plays()  # type: ignore[attr-defined]
        if self.instance.pk:
            self._fill_in()

    def _offer(self, name: str, rows: Any) -> None:
        self.fields[name].queryset = rows  # type: ignore[attr-defined]

    def _policies_and_plays(self) -> list[Any]:
        """Return what can be chosen, in two groups; what is disabled only where it was chosen before."""
        organization = organization_of(self.request)
        groups = []
        for prefix, title, rows, chosen in (
            (_POLICY, "Escalation Policies", EscalationPolicy.objects, self.instance.escalation_policy_id),
            (_PLAY, "Response Plays", ResponsePlay.objects, self.instance.response_play_id),
        ):
            offered = rows.filter(organization=organization)
            options = [
                (f"{prefix}:{row.pk}", row.name if row.enabled else f"{row.name} (disabled)")
                for row in offered
                if row.enabled or row.pk == chosen
            ]
            if options:
                groups.append((title, options))
        return [("", "Choose one"), *groups]

    def _fill_in(self) -> None:
        integration, heartbeat = self.instance, self.instance.heartbeat
        if integration.escalation_policy_id:
            self.initial["follows"] = f"{_POLICY}:{integration.escalation_policy_id}"
        elif integration.response_play_id:
            self.initial["follows"] = f"{_PLAY}:{integration.response_play_id}"
        for field in ("interval_minutes", "grace_minutes"):
            self.initial[field] = f"{getattr(heartbeat, field):f}".removesuffix(".0")
        for field in ("start_timer", "allow_get"):
            self.initial[field] = getattr(heartbeat, field)

    def clean_grace_minutes(self) -> Decimal:
        """Return no grace where none was entered."""
        return self.cleaned_data["grace_minutes"] or Decimal(0)

    def clean_start_timer(self) -> str:
        """Return the default where nothing was chosen."""
        return self.cleaned_data["start_timer"] or Heartbeat.StartTimer.WHEN_ENABLED

    def service_values(self) -> dict[str, Any]:
        """Return the keywords of the service: one of policy and play, the other None."""
        values = dict(self.cleaned_data)
        prefix, _, pk = values.pop("follows").partition(":")
        # The choices were the organization's own, so this is, too.
        values["escalation_policy"] = EscalationPolicy.objects.filter(pk=pk).first() if prefix == _POLICY else None
        values["response_play"] = ResponsePlay.objects.filter(pk=pk).first() if prefix == _PLAY else None
        return values


def _name_and_email(user: User) -> str:
    return f"{user.name} ({user.email})" + ("" if user.is_active else " (deactivated)")
