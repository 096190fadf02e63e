"""Detection: heartbeats whose deadline has passed are marked missed, and their alerts open."""

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

from accounts.selectors import opted_out
from alerting.services.alerts import AlertDraft, open_alerts
from escalation.engine.advance import advance_escalations
from escalation.engine.notices import write_owner_notice
from escalation.engine.start import EscalationStarter, Route
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.batches import run_batch_isolating_failures
from heartbeat_project.kernel.sql import array, statement
from heartbeat_project.kernel.wakeup import wake_now
from integrations.availability.periods import record_silences
from integrations.heartbeats.log import log_events
from integrations.heartbeats.recoveries import close_as_recovered
from integrations.heartbeats.wording import Silence, silence
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from integrations.models.integrations import InboundIntegration

FIRST_BATCH = 5  # the first batch is a fifth of the others, so that somebody is notified soon
BUDGET_SECONDS = 5.0  # for one call; the heartbeats left are for the next
# A web process is waited for until no pulse of it has come back for five seconds. The first pulse that did not was sent
# up to a second after the last that counts, and what waits in its sockets is stored a moment after it goes on.
WAITED_FOR = timedelta(seconds=6.5)
QUARANTINE = timedelta(minutes=1)  # before a miss that could not be recorded is tried again
SOURCE = "Heartbeat"
NOBODY: frozenset[int] = frozenset()


class _Missed(NamedTuple):
    """A row of mark_missed.sql: a tuple, because ten thousand model instances would cost more than their alerts.

    Times are texts, RFC 3339 in UTC: they are only put into other texts, and parsing ten thousand of them takes long.
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
    priority: str | None
    last_ping_at: str | None
    deadline_at: str


def read_judge_until(*, now: datetime) -> datetime | None:
    """Return the watermark up to which deadlines can be judged, or None while none can be.

    It is when the newest pulse that counts was sent, by the web process that is furthest behind: pings that were sent
    to that process may still wait in its sockets, or for its commit. While deadlines are recalculated after an outage,
    nothing is judged. One statement reads all of it, because a pulse writes all of it in one transaction.
    """
    rows = _rows("judge_until", {"waited_since": now - WAITED_FOR})
    if not rows:
        return None
    stored_until, still_moving, late_until = rows[0]
    return None if still_moving else min(now, stored_until, late_until or now)


def detect_misses(*, now: datetime, limit: int = 1_000) -> int:
    """Open one alert for each deadline that has passed, and start its escalation; return how many were opened.

    Works in batches of up to `limit` heartbeats. Each batch is one transaction, and holds up the pings of its
    heartbeats for as long as it takes; the first is small, so that somebody is notified soon. If it is full, a second
    detector is woken and shares the work: each passes over rows that the other has locked. What is left after
    BUDGET_SECONDS is for the next detector, which has a `now` of its own, so that people are chosen by the time at
    which they are notified. Before it is woken, escalations that are due are advanced: their own ticks expire while
    detectors occupy all engine workers.
    """
    judge_until = read_judge_until(now=now)
    opened = 0
    if judge_until is None:
        return opened
    started_at, starter = time.monotonic(), EscalationStarter(now=now)
    for number, size in enumerate(chain([max(1, limit // FIRST_BATCH)], repeat(limit))):
        with transaction.atomic():
            claimed = _claim(judge_until=judge_until, now=now, limit=size)
            if number == 0 and len(claimed) == size:
                wake_now("integrations.detect_misses", queue="engine")
            opened += run_batch_isolating_failures(
                claimed,
                batch_name="misses",
                act=partial(_open, starter=starter, now=now),
                quarantine=partial(_quarantine, now=now),
            )
        if len(claimed) < size:
            break
        if (elapsed := time.monotonic() - started_at) > BUDGET_SECONDS:
            advance_escalations(now=now + timedelta(seconds=int(elapsed)))
            wake_now("integrations.detect_misses", queue="engine")
            break
    return opened


def _claim(*, judge_until: datetime, now: datetime, limit: int) -> list[int]:
    return [pk for (pk,) in _rows("claim_missed", {"judge_until": judge_until, "now": now, "limit": limit})]


def _open(ids: Sequence[int], *, starter: EscalationStarter, now: datetime) -> int:
    """Mark the locked heartbeats missed, open their alerts and start the escalations, in the caller's transaction."""
    _end_earlier_silences(ids, now=now)
    # The statement checks the state again, though the rows are locked: a caller without the lock opens nothing twice.
    missed = [_Missed._make(row) for row in _rows("mark_missed", {"ids": array(ids), "now": now})]
    if len(missed) != len(ids):
        raise RuntimeError("a heartbeat changed while its miss was recorded: it was not locked")
    record_silences(ids)
    routes = _by_route(missed)
    drafts, expected_by = [], []
    for route, rows in routes:
        for row in rows:
            words = _silence_of(row, now=now)
            drafts.append(_draft(route, row, words))
            expected_by.append((row.id, words.expected_by))
    # Alerts come back in the order of their drafts, which are grouped by route.
    alert_ids = open_alerts(drafts, now=now)
    remaining_ids = iter(alert_ids)
    starter.start([(route, list(islice(remaining_ids, len(rows)))) for route, rows in routes])
    log_events(
        HeartbeatEvent.Kind.MISSED,
        [
            (integration_id, f"Alert {alert_id} opened: no ping by {deadline}.")
            for alert_id, (integration_id, deadline) in zip(alert_ids, expected_by, strict=True)
        ],
        now=now,
    )
    return len(alert_ids)


def _end_earlier_silences(ids: Sequence[int], *, now: datetime) -> None:
    """Close alerts of earlier silences of these heartbeats: a ping ended those, and this is a new silence."""
    close_as_recovered(dict(_rows("earlier_alerts", {"ids": array(ids)})), now=now)


def _rows(name: str, parameters: dict[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", name), parameters)
        return list(cursor.fetchall())


def _by_route(missed: Sequence[_Missed]) -> list[tuple[Route, list[_Missed]]]:
    """Group the heartbeats by route, so that a plan is compiled once for all that share one."""
    policies = EscalationPolicy.objects.in_bulk({row.escalation_policy_id for row in missed})
    plays = ResponsePlay.objects.in_bulk({row.response_play_id for row in missed})
    opt_outs = opted_out(row.id for row in missed)
    rows_by_route: defaultdict[tuple[Any, ...], list[_Missed]] = defaultdict(list)
    for row in missed:
        more = (tuple(row.group_ids), tuple(row.user_ids), opt_outs.get(row.id, NOBODY), row.priority or "")
        rows_by_route[row.organization_id, row.escalation_policy_id, row.response_play_id, *more].append(row)
    return [
        (Route(organization_id, policies.get(policy_id), plays.get(play_id), *more), rows)
        for (organization_id, policy_id, play_id, *more), rows in rows_by_route.items()
    ]


def _silence_of(row: _Missed, *, now: datetime) -> Silence:
    return silence(
        name=row.name,
        interval_minutes=row.interval_minutes,
        grace_minutes=row.grace_minutes,
        last_ping_at=row.last_ping_at,
        deadline_at=row.deadline_at,
        overdue=now - datetime.fromisoformat(row.deadline_at),
        link=f"{settings.BASE_URL}/heartbeats/{row.id}/",
    )


def _draft(route: Route, row: _Missed, words: Silence) -> AlertDraft:
    return AlertDraft(
        organization_id=row.organization_id,
        subject=words.subject,
        short_text=words.short_text,
        long_text=words.long_text,
        facts=words.facts,
        source=SOURCE,
        source_name=row.name,
        source_id=str(row.id),
        priority=route.priority,
        integration_id=row.id,
        integration_type=InboundIntegration.Type.HEARTBEAT,
        expected_at=row.deadline_at,
        bridge_id=row.bridge_id,
        group_ids=route.group_ids,
        user_ids=route.user_ids,
    )


def _quarantine(integration_id: int, error: Exception, *, now: datetime) -> None:
    """Note the error and try again in a minute; the first time in a silence, log it and notify the Owners."""
    heartbeat = Heartbeat.objects.select_related("integration").get(pk=integration_id)
    # An error that was noted before this deadline passed is that of an earlier silence, which a ping has ended.
    noted_at = heartbeat.quarantined_until and heartbeat.quarantined_until - QUARANTINE
    first = noted_at is None or heartbeat.deadline_at is None or noted_at < heartbeat.deadline_at
    heartbeat.error = f"{type(error).__name__}: {error}".replace("\x00", "")
    heartbeat.quarantined_until = now + QUARANTINE
    heartbeat.save(update_fields=["error", "quarantined_until"])
    if first:
        text = f"The miss of “{heartbeat.integration.name}” could not be recorded: {heartbeat.error}"
        HeartbeatEvent.objects.create(
            integration=heartbeat.integration,
            at=now,
            kind=HeartbeatEvent.Kind.QUARANTINED,
            text=text,
        )
        write_owner_notice(
            heartbeat.integration.organization_id,
            subject=f"{heartbeat.integration.name} is silent, and its alert could not be opened",
            text=f"{text}\n"
            "Nobody is notified of it before its alert can be opened: look at the job, or call somebody. Heartbeat "
            "tries again every minute; the log of the engine worker says more.",
            now=now,
        )
