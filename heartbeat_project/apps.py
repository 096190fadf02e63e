"""Connects the composition to Django: the Celery app, the actor of the audit log, and the admin site."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig
from django.db.backends.signals import connection_created

from heartbeat_project.kernel.audit import carry_actor


class ProjectConfig(AppConfig):
    """Makes shared tasks find the Celery app in every process, including web."""

    name = "heartbeat_project"
    label = "heartbeat_project"

    def ready(self) -> None:
        """Load the Celery app, and let every connection carry who acts."""
        from heartbeat_project import celery  # noqa: F401, PLC0415 - needs the app registry

        connection_created.connect(carry_actor)


class AdminConfig(DjangoAdminConfig):
    """Replaces Django's admin site with ours."""

    default_site = "heartbeat_project.admin_site.HeartbeatAdminSite"
