"""Register the app."""

from django.apps import AppConfig


class EscalationConfig(AppConfig):
    """See the package's docstring for what the app owns."""

    name = "escalation"
