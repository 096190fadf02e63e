"""The web process: one ASGI application, the ping lane in front of Django."""

import os
from typing import cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heartbeat_project.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.conf import settings  # noqa: E402 - what follows needs the app registry
from django.db import connection  # noqa: E402

from integrations.ingest.committer import Committer  # noqa: E402
from integrations.ingest.lane import Application, PingLane  # noqa: E402


def conninfo() -> dict[str, object]:
    """Return the lane's connection parameters: Django's, without what belongs to Django's pool and cursors."""
    parameters = connection.get_connection_params()
    kept = {name: value for name, value in parameters.items() if name not in {"pool", "cursor_factory", "context"}}
    # A store that hangs must not keep requests waiting for ever.
    return {**kept, "application_name": "heartbeat-lane", "options": "-c statement_timeout=10s -c TimeZone=UTC"}


application = PingLane(
    cast("Application", django_application),
    Committer(conninfo(), max_waiting=settings.PING_MAX_WAITING),
    max_body_bytes=settings.PING_MAX_BODY_BYTES,
)
