"""A ping after a miss closes the alert."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import connection, transaction

from alerting.services import close_alerts
from escalation.services.notices import write_recovery_notices
from heartbeat_project.kernel.sql import statement
from integrations.models import HeartbeatEvent
from integrations.services.events import log_events

CLOSED_BY_HEARTBEAT = "closed by heartbeat"


def close_recovered(*, now: datetime, integration_ids: Sequence[int] | None = None, limit: int = 1_000) -> int:
    """Close the live alerts of heartbeats that are no longer silent and return how many.

    With `integration_ids`, of these only (rung for by their pings); without, of all that were left.
    """
    closed = 0
    while True:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(
                    statement("integrations", "recovered_alerts"),
                    {"only": None if integration_ids is None else list(integration_ids), "limit": limit},
                )
                found = {alert_id: integration_id for alert_id, integration_id, _ in cursor.fetchall()}
            closed += close_as_recovered(found, now=now)
        if len(found) < limit:
            return closed


def close_as_recovered(alerts: Mapping[int, int], *, now: datetime) -> int:
    """Close these alerts (alert id: integration id) as ended by a ping, and tell those who had been told.

    The caller holds the lock on the heartbeats and the transaction. Returns how many were still live.
    """
    if not alerts:
        return 0
    closed = close_alerts(list(alerts), reason=CLOSED_BY_HEARTBEAT, now=now)
    write_recovery_notices(closed, now=now)
    log_events(
        HeartbeatEvent.Kind.RECOVERED,
        [(alerts[alert_id], f"Alert {alert_id} closed: a ping came.") for alert_id in closed],
        now=now,
    )
    return len(closed)
