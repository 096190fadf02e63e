"""Register the app."""

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    """See the package's docstring for what the app owns."""

    name = "integrations"
