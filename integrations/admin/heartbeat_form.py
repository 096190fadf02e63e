"""The form of a heartbeat integration, in the order in which it is filled in."""

from decimal import Decimal
from typing import Any

from django import forms

from integrations.admin.integration_form import IntegrationForm
from integrations.heartbeats.edits import MAX_INTERVAL, MIN_INTERVAL
from integrations.models.heartbeats import Heartbeat


class HeartbeatForm(IntegrationForm):
    """The fields of a heartbeat integration, named as the service names them."""

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

    class Meta(IntegrationForm.Meta):
        help_texts = {
            **IntegrationForm.Meta.help_texts,
            "enabled": "A disabled integration records pings, but no timer runs. Its open alert is closed.",
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["follows"].help_text = "Who is notified, and when, while the heartbeat stays silent."

    def _fill_in(self) -> None:
        super()._fill_in()
        heartbeat = self.instance.heartbeat
        for field in ("interval_minutes", "grace_minutes"):
            self.initial[field] = f"{getattr(heartbeat, field):f}".removesuffix(".0")
        for field in ("start_timer", "allow_get"):
            self.initial[field] = getattr(heartbeat, field)

    def clean_grace_minutes(self) -> Decimal:
        """Return zero minutes if nothing was entered."""
        return self.cleaned_data["grace_minutes"] or Decimal(0)

    def clean_start_timer(self) -> str:
        """Return the default if nothing was chosen."""
        return self.cleaned_data["start_timer"] or Heartbeat.StartTimer.WHEN_ENABLED
