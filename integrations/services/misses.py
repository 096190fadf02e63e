"""Deadlines that passed become alerts."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists

from alerting.models import Alert
from alerting.services import AlertDraft, open_alerts
from alerting.states import LIVE
from escalation.services.notices import write_owner_notice
from escalation.services.runs import RunStart, start_runs
from heartbeat_project.kernel.batches import together_or_alone
from heartbeat_project.kernel.sql import statement
from integrations.models import Heartbeat, HeartbeatEvent, InboundIntegration, Listening, Outage
from integrations.services.recoveries import close_as_recovered
from integrations.wording import Silence

SET_ASIDE_FOR = timedelta(minutes=1)
SOURCE = "Heartbeat"


def listening_horizon(*, now: datetime) -> datetime | None:
    """Return up to when deadlines can be judged, or None when they cannot be now.

    That is the newest pulse. While deadlines are still being moved by an outage of ours, nothing is judged. Both are
    read in one statement, because a pulse writes both in one transaction.
    """
    moving = Exists(Outage.objects.filter(done_at=None))
    listening = Listening.objects.annotate(moving=moving).values_list("heard_until", "moving").first()
    if listening is None:
        return None
    heard_until, still_moving = listening
    return None if still_moving else min(now, heard_until)


def detect_misses(*, now: datetime, limit: int = 500) -> int:
    """Open one alert for each deadline that has passed, and start its escalation; return how many.

    Works in batches of `limit` heartbeats, each one transaction. Two detectors share the work: a row that one has
    locked is passed over by the other.
    """
    horizon = listening_horizon(now=now)
    opened = 0
    while horizon is not None:
        with transaction.atomic():
            claimed = _claim(horizon=horizon, now=now, limit=limit)
            opened += together_or_alone(
                claimed,
                what="misses",
                act=partial(_open, now=now),
                set_aside=partial(_set_aside, now=now),
            )
        if len(claimed) < limit:
            break
    return opened


def _claim(*, horizon: datetime, now: datetime, limit: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            statement("integrations", "claim_missed"),
            {"horizon": horizon, "now": now, "limit": limit},
        )
        return [integration_id for (integration_id,) in cursor.fetchall()]


def _open(ids: Sequence[int], *, now: datetime) -> int:
    """Mark the locked heartbeats missed, open their alerts and start the escalations, in the caller's transaction."""
    _end_earlier_silences(ids, now=now)
    # The rows are locked; the state is asked again all the same, so that a caller without the lock opens nothing twice.
    marked = Heartbeat.objects.filter(
        integration_id__in=ids,
        state__in=[Heartbeat.State.WAITING, Heartbeat.State.HEALTHY],
        deadline_at__lte=now,
    ).update(state=Heartbeat.State.MISSED, set_aside_until=None, error="")
    if marked != len(ids):
        raise RuntimeError("a heartbeat changed while its miss was recorded: it was not locked")
    integrations = InboundIntegration.objects.select_related("heartbeat", "escalation_policy", "response_play").filter(
        pk__in=ids,
    )
    found = list(integrations.order_by("pk"))
    groups = _recipients(InboundIntegration.recipient_groups.through, "group_id", ids)
    users = _recipients(InboundIntegration.recipient_users.through, "user_id", ids)
    alerts = open_alerts(
        [_draft(integration, groups[integration.pk], users[integration.pk], now=now) for integration in found],
        now=now,
    )
    start_runs(
        [
            RunStart(
                alert=alert,
                policy=integration.escalation_policy,
                play=integration.response_play,
                group_ids=tuple(groups[integration.pk]),
                user_ids=tuple(users[integration.pk]),
            )
            for alert, integration in zip(alerts, found, strict=True)
        ],
        now=now,
    )
    HeartbeatEvent.objects.bulk_create(
        HeartbeatEvent(
            integration=integration,
            at=now,
            kind=HeartbeatEvent.Kind.MISSED,
            text=f"Alert {alert.pk} opened: no ping by {integration.heartbeat.deadline_at:%Y-%m-%d %H:%M:%S} UTC.",
        )
        for alert, integration in zip(alerts, found, strict=True)
    )
    return len(alerts)


def _end_earlier_silences(ids: Sequence[int], *, now: datetime) -> None:
    """Close what an earlier silence of these heartbeats has open: a ping ended it, and this is a new one."""
    live = Alert.objects.filter(integration_id__in=ids, source=SOURCE, status__in=sorted(LIVE))
    close_as_recovered({pk: of for pk, of in live.values_list("pk", "integration_id") if of}, now=now)


def _recipients(through: type, column: str, ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the named groups or users of each integration, in the order in which they were named."""
    named: dict[int, list[int]] = defaultdict(list)
    rows = through.objects.filter(inboundintegration_id__in=ids).order_by("id")  # type: ignore[attr-defined]
    for integration_id, other_id in rows.values_list("inboundintegration_id", column):
        named[integration_id].append(other_id)
    return named


def _draft(integration: InboundIntegration, groups: list[int], users: list[int], *, now: datetime) -> AlertDraft:
    heartbeat = integration.heartbeat
    assert heartbeat.deadline_at is not None  # noqa: S101 - a check constraint holds it
    silence = Silence(
        name=integration.name,
        interval_minutes=heartbeat.interval_minutes,
        grace_minutes=heartbeat.grace_minutes,
        last_ping_at=heartbeat.last_ping_at,
        deadline_at=heartbeat.deadline_at,
        now=now,
        link=f"{settings.BASE_URL}/heartbeats/{integration.pk}/",
    )
    rule = integration.escalation_policy or integration.response_play
    return AlertDraft(
        organization_id=integration.organization_id,
        subject=silence.subject,
        short_text=silence.short_text,
        long_text=silence.long_text,
        facts=silence.facts,
        source=SOURCE,
        source_name=integration.name,
        source_id=str(integration.pk),
        priority=rule.priority if rule else "none",
        integration_id=integration.pk,
        expected_at=heartbeat.deadline_at,
        bridge_id=integration.bridge_id,
        group_ids=tuple(groups),
        user_ids=tuple(users),
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
