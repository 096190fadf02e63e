"""The other reference: pings through the plain DRF view, one transaction each."""

from heartbeat_project.asgi import django_application as application

__all__ = ["application"]
