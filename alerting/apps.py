"""Register the app."""

from django.apps import AppConfig


class AlertingConfig(AppConfig):
    """See the package's docstring for what the app owns."""

    name = "alerting"
