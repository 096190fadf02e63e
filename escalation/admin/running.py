"""The part of the pages of policies and plays about the escalations that follow them, and the box that stops these."""

from typing import Any

from django import forms

from accounts.admin.base import ServiceForm
from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.policies.edits import count_running


class StopForm(ServiceForm):
    """A policy or play that can be disabled together with the escalations that follow it."""

    stop_running = forms.BooleanField(label="Stop what runs by it", required=False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "stop_running" in self.fields:
            self.fields["stop_running"].help_text = (
                f"{running_says(self.instance)} Tick this together with disabling it to stop them: nobody is notified "
                "by them any more, the Owners and App Admins neither. Their alerts stay open."
                if self.instance.pk
                else "No escalation runs by it yet."
            )


def new_values(form: forms.Form) -> dict[str, Any]:
    """Return the values of a new policy or play, without `stop_running`: no escalation follows it yet."""
    return {name: value for name, value in form.cleaned_data.items() if name != "stop_running"}


def running_says(rule: EscalationPolicy | ResponsePlay) -> str:
    """Say how many escalations follow a policy or play now, and that they go on."""
    running = count_running(rule)
    if not running:
        return "No escalation of an open alert follows it now."
    if running == 1:
        return "1 escalation of an alert that is not over follows it now, and goes on as it began."
    return f"{running} escalations of alerts that are not over follow it now, and go on as they began."
