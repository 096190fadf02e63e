"""Recoveries: a ping after a miss closes the alert."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from django.db import connection, transaction

from accounts.services.restores import unless_held
from alerting.services.alerts import close_alerts
from escalation.notifications.notices.recoveries import write_recovery_notices
from heartbeat_project.kernel.batches import run_batch_isolating_failures
from heartbeat_project.kernel.sql import statement
from integrations.availability.periods import end_periods
from integrations.heartbeats.log import log_events
from integrations.models.heartbeats import HeartbeatEvent

CLOSED_BY_HEARTBEAT = "closed by heartbeat"


@unless_held(0)
def close_recovered(*, now: datetime, integration_ids: Sequence[int] | None = None, limit: int = 1_000) -> int:
    """Close the live alerts of heartbeats that are no longer silent; return how many were closed.

    With `integration_ids` only theirs, as their pings wake a worker; without, all that are left. An alert that cannot
    be closed stays open, and holds up neither the others nor the tick, which judges deadlines after this.
    """
    closed = 0
    while True:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(
                    statement("integrations", "recovered_alerts"),
                    {"only": None if integration_ids is None else list(integration_ids), "limit": limit},
                )
                recovered = {alert_id: integration_id for alert_id, integration_id, _ in cursor.fetchall()}
            done = run_batch_isolating_failures(
                list(recovered),
                batch_name="recoveries",
                act=partial(_close, recovered=recovered, now=now),
                quarantine=_leave_open,
            )
        closed += done
        if len(recovered) < limit or not done:
            return closed


def _close(alert_ids: Sequence[int], *, recovered: Mapping[int, int], now: datetime) -> int:
    return close_as_recovered({pk: recovered[pk] for pk in alert_ids}, now=now)


def _leave_open(alert_id: int, error: Exception) -> None:
    """Do nothing: the error is logged, the alert stays in everybody's list, and the next tick tries again."""


def close_as_recovered(alerts: Mapping[int, int], *, now: datetime) -> int:
    """Close these alerts (alert id: integration id) as ended by a ping; return how many were still live.

    People who were notified of them get a notice, and the silences get their ends. The caller holds the transaction,
    and locks on the heartbeats.
    """
    if not alerts:
        return 0
    end_periods(set(alerts.values()), now=now)
    closed = close_alerts(list(alerts), reason=CLOSED_BY_HEARTBEAT, now=now)
    write_recovery_notices(closed, now=now)
    log_events(
        HeartbeatEvent.Kind.RECOVERED,
        [(alerts[alert_id], f"Alert {alert_id} closed: a ping came.") for alert_id in closed],
        now=now,
    )
    return len(closed)
