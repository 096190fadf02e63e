"""The log of a heartbeat: what changed in its life other than pings."""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from heartbeat_project.kernel.sql import records, statement
from integrations.models.heartbeats import HeartbeatEvent


def log_events(kind: HeartbeatEvent.Kind, lines: Sequence[tuple[int, str]], *, now: datetime) -> None:
    """Write lines of one kind, without an actor, in one statement; `lines` are pairs of (integration id, text)."""
    with connection.cursor() as cursor:
        cursor.execute(
            statement("integrations", "log_events"),
            {
                "lines": records({"integration_id": pk, "text": text} for pk, text in lines),
                "kind": kind,
                "now": now,
            },
        )
