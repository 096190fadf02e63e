"""The one function that records pings, and the pulse that proves somebody was listening."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction

from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import statement
from integrations.models import Listening, Outage

log = logging.getLogger(__name__)

DEAF_AFTER: Final = timedelta(seconds=5)
CLOCK_WENT_BACK: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to an API URL. `received_at` is when it reached us, not when a worker got to it."""

    token: str
    received_at: datetime
    method: str = "POST"
    source_ip: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an arrival; `status` is "ok", "disabled", or "method" (this heartbeat takes POST only)."""

    integration_id: int
    status: str
    received_at: datetime
    deadline_at: datetime | None


def record_pings(arrivals: Sequence[Arrival]) -> list[Receipt | None]:
    """Commit a batch of arrivals and return a receipt for each, in order; None for an unknown token.

    One statement: when it returns, the pings are stored, their timers set, and those that ended a silence have had
    the auto-close rung for. Raises django.db.OperationalError when the store cannot be reached; then nothing is stored.
    """
    receipts: list[Receipt | None] = [None] * len(arrivals)
    recovered = set()
    # PostgreSQL's text holds no NUL, and UTF-8 no lone surrogate: such a token is unknown, and must not spoil a batch.
    listed = [(index, arrival) for index, arrival in enumerate(arrivals) if _storable(arrival.token)]
    parameters = {
        "tokens": [arrival.token for _, arrival in listed],
        "received": [arrival.received_at for _, arrival in listed],
        "methods": [arrival.method for _, arrival in listed],
        "ips": [arrival.source_ip for _, arrival in listed],
    }
    with transaction.atomic(durable=not connection.in_atomic_block), connection.cursor() as cursor:
        cursor.execute(statement("integrations", "record_pings"), parameters)
        for ordinal, integration_id, accepted, state, old_state, deadline_at in cursor.fetchall():
            index, arrival = listed[ordinal - 1]
            status = "method" if not accepted else "disabled" if state == "disabled" else "ok"
            receipts[index] = Receipt(integration_id, status, arrival.received_at, deadline_at if accepted else None)
            if accepted and old_state == "missed":
                recovered.add(integration_id)
    if recovered:
        # Only a doorbell: the tick closes whatever this does not.
        ring("integrations.close_recovered", queue="engine", integration_ids=sorted(recovered))
    return receipts


def _storable(token: str) -> bool:
    return token.isascii() and token.isprintable()


def record_pulse(*, now: datetime) -> Outage | None:
    """Commit that somebody was listening at `now`; return the outage that this pulse ended, if there was one.

    Deadlines are judged only up to the newest pulse, so while nobody can hear, nobody is judged.
    """
    with transaction.atomic():
        row, first = Listening.objects.select_for_update().get_or_create(id=1, defaults={"heard_until": now})
        if first or row.heard_until - CLOCK_WENT_BACK <= now <= row.heard_until:
            return None
        outage = None
        if now - row.heard_until > DEAF_AFTER:
            outage = Outage.objects.create(started_at=row.heard_until, ended_at=now)
            log.warning("nobody was listening for pings from %s to %s", outage.started_at, outage.ended_at)
        row.heard_until = now
        row.save(update_fields=["heard_until"])
    return outage
