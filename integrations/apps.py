"""The configuration of the app."""

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    """See the package's docstring for what the app owns."""

    name = "integrations"

    def ready(self) -> None:
        """Register the function that says which heartbeats a change would leave without anybody to notify."""
        from heartbeat_project.kernel.consequences import answer_with  # noqa: PLC0415
        from integrations.coverage.consequences import before_change  # noqa: PLC0415 - needs the app registry

        answer_with(before_change)
