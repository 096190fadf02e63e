"""Connects the composition to Django: the Celery app, the actor of the audit log, and the admin site."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks
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


class AdminConfig(SimpleAdminConfig):
    """Replaces Django's admin site with ours. `urls.py` loads its pages, so that workers need no memory for them."""

    default_site = "heartbeat_project.admin_site.HeartbeatAdminSite"

    def ready(self) -> None:
        """Register Django's checks of admin sites."""
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_pages, checks.Tags.admin)


def check_pages(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[checks.CheckMessage]:
    """Load the pages of the admin site, and check them."""
    admin.autodiscover()
    return check_admin_app(app_configs, **options)
