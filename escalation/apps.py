"""Register the app."""

from django.apps import AppConfig


class EscalationConfig(AppConfig):
    """See the package's docstring for what the app owns."""

    name = "escalation"

    def ready(self) -> None:
        """Register what keeps the running turns of rotations when the members of a group change."""
        from accounts.services.memberships import before_members_change  # noqa: PLC0415 - models are loaded only now
        from escalation.oncall.rotation_edits import keep_running_turns  # noqa: PLC0415

        before_members_change(keep_running_turns)
