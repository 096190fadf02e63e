"""Register the app."""

from django.apps import AppConfig


class EscalationConfig(AppConfig):
    """See the package's docstring for what the app owns."""

    name = "escalation"

    def ready(self) -> None:
        """Keep the running turns of rotations whenever the members of groups change."""
        from accounts.services.memberships import before_members_change  # noqa: PLC0415 - models are there only now
        from escalation.services.turns import keep_running_turns  # noqa: PLC0415

        before_members_change(keep_running_turns)
