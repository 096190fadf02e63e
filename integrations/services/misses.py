"""Deadlines that passed become alerts."""

import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, Subquery

from accounts.selectors import opted_out
from alerting.models import Priority
from alerting.services import AlertDraft, open_alerts
from escalation.models import EscalationPolicy, ResponsePlay
from escalation.services.engine import advance_escalations
from escalation.services.notices import write_owner_notice
from escalation.services.runs import Starter, Way
from heartbeat_project.kernel.batches import together_or_alone
from heartbeat_project.kernel.doorbell import ring_now
from heartbeat_project.kernel.sql import array, statement
from integrations.models import Heartbeat, HeartbeatEvent, Listener, Listening, Outage
from integrations.services.events import log_events
from integrations.services.recoveries import close_as_recovered
from integrations.wording import Silence, silence

FIRST_BATCH = 5  # the part of a batch that comes first
BUDGET_SECONDS = 5.0
# A web process that has sent no pulse for so long is gone, or hears nothing.
WAITED_FOR = timedelta(seconds=2)
SET_ASIDE_FOR = timedelta(minutes=1)
SOURCE = "Heartbeat"
NOBODY: frozenset[int] = frozenset()


class _Missed(NamedTuple):
    """A row of mark_missed.sql: a tuple, because ten thousand objects of models would cost more than their alerts.

    Times are RFC 3339 in UTC: they are only put into texts, and one of ten thousand is soon read.
    """

    id: int
    organization_id: int
    name: str
    escalation_policy_id: int | None
    response_play_id: int | None
    bridge_id: int | None
    interval_minutes: Decimal
    grace_minutes: Decimal
    group_ids: list[int]
    user_ids: list[int]
    last_ping_at: str | None
    deadline_at: str


def listening_horizon(*, now: datetime) -> datetime | None:
    """Return up to when deadlines can be judged, or None when they cannot be now.

    That is the newest pulse, or the oldest of those that web processes sent a moment ago: one whose pings wait for
    their commit is waited for. While deadlines are still being moved by an outage of ours, nothing is judged. All is
    read in one statement, because a pulse writes all in one transaction.
    """
    late = Listener.objects.filter(pulsed_at__gt=now - WAITED_FOR).order_by("heard_until").values("heard_until")
    listening = (
        Listening.objects.annotate(moving=Exists(Outage.objects.filter(done_at=None)), late=Subquery(late[:1]))
        .values_list("heard_until", "moving", "late")
        .first()
    )
    if listening is None:
        return None
    heard_until, still_moving, late_until = listening
    return None if still_moving else min(now, heard_until, late_until or now)


def detect_misses(*, now: datetime, limit: int = 1_000) -> int:
    """Open one alert for each deadline that has passed, and start its escalation; return how many.

    Works in batches of `limit` heartbeats, each one transaction: it holds up the pings of its heartbeats for as long as
    it takes. The first is small, so that somebody is told soon. Where it does not take all, a second detector is rung
    for at once and shares the work, since a row that one has locked is passed over by the other. What is left after
    some seconds is for the next, which begins at its own moment: who is told is asked anew. Before that, escalations go
    on, whose own ticks expire while detectors take up all engines.
    """
    horizon = listening_horizon(now=now)
    opened = 0
    if horizon is None:
        return opened
    started, starter = time.monotonic(), Starter(now=now)
    for number, size in enumerate(chain([max(1, limit // FIRST_BATCH)], repeat(limit))):
        with transaction.atomic():
            claimed = _claim(horizon=horizon, now=now, limit=size)
            if number == 0 and len(claimed) == size:
                ring_now("integrations.detect_misses", queue="engine")
            opened += together_or_alone(
                claimed,
                what="misses",
                act=partial(_open, starter=starter, now=now),
                set_aside=partial(_set_aside, now=now),
            )
        if len(claimed) < size:
            break
        if (elapsed := time.monotonic() - started) > BUDGET_SECONDS:
            advance_escalations(now=now + timedelta(seconds=int(elapsed)))
            ring_now("integrations.detect_misses", queue="engine")
            break
    return opened


def _claim(*, horizon: datetime, now: datetime, limit: int) -> list[int]:
    return [pk for (pk,) in _rows("claim_missed", {"horizon": horizon, "now": now, "limit": limit})]


def _open(ids: Sequence[int], *, starter: Starter, now: datetime) -> int:
    """Mark the locked heartbeats missed, open their alerts and start the escalations, in the caller's transaction."""
    _end_earlier_silences(ids, now=now)
    # The rows are locked; the state is asked again all the same, so that a caller without the lock opens nothing twice.
    missed = [_Missed._make(row) for row in _rows("mark_missed", {"ids": array(ids), "now": now})]
    if len(missed) != len(ids):
        raise RuntimeError("a heartbeat changed while its miss was recorded: it was not locked")
    ways = _by_way(missed)
    alike = [(way, row, _said(row, now=now)) for way, rows in ways for row in rows]
    alert_ids = open_alerts([_draft(*each) for each in alike], now=now)
    in_turn = iter(alert_ids)
    starter.start([(way, list(islice(in_turn, len(rows)))) for way, rows in ways])
    log_events(
        HeartbeatEvent.Kind.MISSED,
        [
            (row.id, f"Alert {alert_id} opened: no ping by {said.expected_by}.")
            for alert_id, (_, row, said) in zip(alert_ids, alike, strict=True)
        ],
        now=now,
    )
    return len(alert_ids)


def _end_earlier_silences(ids: Sequence[int], *, now: datetime) -> None:
    """Close what an earlier silence of these heartbeats has open: a ping ended it, and this is a new one."""
    close_as_recovered(dict(_rows("earlier_alerts", {"ids": array(ids)})), now=now)


def _rows(name: str, parameters: dict[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", name), parameters)
        return list(cursor.fetchall())


def _by_way(missed: Sequence[_Missed]) -> list[tuple[Way, list[_Missed]]]:
    """Put together what goes the same way."""
    policies = EscalationPolicy.objects.in_bulk({row.escalation_policy_id for row in missed})
    plays = ResponsePlay.objects.in_bulk({row.response_play_id for row in missed})
    silent_for = opted_out(row.id for row in missed)
    together: defaultdict[tuple[Any, ...], list[_Missed]] = defaultdict(list)
    for row in missed:
        named = (tuple(row.group_ids), tuple(row.user_ids), silent_for.get(row.id, NOBODY))
        together[row.organization_id, row.escalation_policy_id, row.response_play_id, *named].append(row)
    return [
        (Way(organization_id, policies.get(policy_id), plays.get(play_id), *named), rows)
        for (organization_id, policy_id, play_id, *named), rows in together.items()
    ]


def _said(row: _Missed, *, now: datetime) -> Silence:
    return silence(
        name=row.name,
        interval_minutes=row.interval_minutes,
        grace_minutes=row.grace_minutes,
        last_ping_at=row.last_ping_at,
        deadline_at=row.deadline_at,
        overdue=now - datetime.fromisoformat(row.deadline_at),
        link=f"{settings.BASE_URL}/heartbeats/{row.id}/",
    )


def _draft(way: Way, row: _Missed, said: Silence) -> AlertDraft:
    return AlertDraft(
        organization_id=row.organization_id,
        subject=said.subject,
        short_text=said.short_text,
        long_text=said.long_text,
        facts=said.facts,
        source=SOURCE,
        source_name=row.name,
        source_id=str(row.id),
        priority=way.rule.priority if way.rule else Priority.NONE,
        integration_id=row.id,
        expected_at=row.deadline_at,
        bridge_id=row.bridge_id,
        group_ids=way.group_ids,
        user_ids=way.user_ids,
    )


def _set_aside(integration_id: int, error: Exception, *, now: datetime) -> None:
    """Try this one again in a minute, and say so where people look; the first time, tell the Owners."""
    heartbeat = Heartbeat.objects.select_related("integration").get(pk=integration_id)
    first = not heartbeat.error
    heartbeat.error = f"{type(error).__name__}: {error}".replace("\x00", "")
    heartbeat.set_aside_until = now + SET_ASIDE_FOR
    heartbeat.save(update_fields=["error", "set_aside_until"])
    if first:
        text = f"The miss of “{heartbeat.integration.name}” could not be recorded: {heartbeat.error}"
        HeartbeatEvent.objects.create(
            integration=heartbeat.integration,
            at=now,
            kind=HeartbeatEvent.Kind.SET_ASIDE,
            text=text,
        )
        write_owner_notice(
            heartbeat.integration.organization_id,
            subject=f"{heartbeat.integration.name} is silent, and its alert could not be opened",
            text=f"{text}\nIt is tried again every minute. The log of the engine worker says more.",
            now=now,
        )
