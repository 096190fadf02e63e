"""Wire the composition into Django: the Celery app and the admin site."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class ProjectConfig(AppConfig):
    """Make shared tasks find the Celery app in every process, web included."""

    name = "heartbeat_project"
    label = "heartbeat_project"

    def ready(self) -> None:
        """Load the Celery app."""
        from heartbeat_project import celery  # noqa: F401, PLC0415 - needs the app registry


class AdminConfig(DjangoAdminConfig):
    """Put our own admin site in the place of Django's."""

    default_site = "heartbeat_project.admin_site.HeartbeatAdminSite"
