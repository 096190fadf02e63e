"""The tables of escalation: rules, runs, notifications, who is on call; and the pure rules about single columns."""

# Django finds an app's models through this module.
from escalation.models import (  # noqa: F401
    notifications,
    on_call,
    policies,
    progress,
    responses,
    runs,
    sending,
)
