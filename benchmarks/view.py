"""The second reference application: pings through the plain DRF view, with one transaction for each."""

from heartbeat_project.asgi import django_application as application

__all__ = ["application"]
