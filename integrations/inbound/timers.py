"""What becomes due between events: waiting opens, alerts that close by themselves, and keys that are forgotten."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import connection, transaction

from accounts.services.restores import unless_held
from alerting.models.alerts import Alert
from alerting.services.alerts import close_alerts
from alerting.states import LIVE
from escalation.notifications.notices.recoveries import write_recovery_notices
from heartbeat_project.kernel.batches import run_batch_isolating_failures
from heartbeat_project.kernel.durations import exactly, minutes
from heartbeat_project.kernel.sql import statement
from integrations.inbound.alerts import EventAlerts
from integrations.inbound.delays import load_event
from integrations.maintenance.windows import suspended_until
from integrations.models.events import EventKey, EventState
from integrations.models.integrations import InboundIntegration

AT_ONCE: Final = 200
# What could not be carried out is tried again after this time.
AGAIN_AFTER: Final = timedelta(minutes=1)
# So long after its last change, a key is forgotten: an event older than its close would be.
KEPT_FOR: Final = timedelta(days=30)


@unless_held(0)
def run_due(*, now: datetime) -> int:
    """Open the alerts whose delay has passed, and close those to which no event came in time; return how many."""
    return _open_due(now=now) + _close_due(now=now)


def delete_old_keys(*, now: datetime, limit: int) -> int:
    """Delete at most `limit` keys that have not changed for KEPT_FOR and do not wait; return how many."""
    old = EventKey.objects.filter(changed_at__lt=now - KEPT_FOR, due_at=None).order_by("changed_at")
    return EventKey.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:limit])).delete()[0]


def _open_due(*, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "due_integrations"), {"now": now, "limit": AT_ONCE})
        integration_ids = [integration_id for (integration_id,) in cursor.fetchall()]
    done = 0
    # A transaction for each integration, whose state is locked as for its events. Each has the same share, so that one
    # with many keys, or whose state is always locked by the events that come, holds up no other.
    for integration_id in integration_ids:
        done += _isolated(integration_id, limit=max(1, AT_ONCE // len(integration_ids)), now=now)
    return done


def _isolated(integration_id: int, *, limit: int, now: datetime) -> int:
    """Open what is due of one integration; a key that fails is logged, tried again later, and holds up no other."""
    with transaction.atomic():
        # Skipped if an event is being carried out: the next tick is soon enough.
        if not EventState.objects.select_for_update(skip_locked=True).filter(pk=integration_id).exists():
            return 0
        keys = EventKey.objects.filter(integration=integration_id, due_at__lte=now).order_by("due_at")
        pks = list(keys.values_list("pk", flat=True)[:limit])
        return run_batch_isolating_failures(
            pks,
            batch_name="delayed events",
            act=partial(_open_keys, integration_id, now=now),
            quarantine=partial(_postpone, now=now),
        )


def _postpone(pk: int, error: Exception, *, now: datetime) -> None:  # noqa: ARG001 - the caller logs the error
    """Try the key again in a minute: an open that were dropped would be an alert that nobody ever hears of."""
    EventKey.objects.filter(pk=pk).update(due_at=now + AGAIN_AFTER)


def _open_keys(integration_id: int, pks: Sequence[int], *, now: datetime) -> int:
    related = ("event_settings", "escalation_policy", "response_play", "bridge")
    integration = InboundIntegration.objects.select_related(*related).filter(pk=integration_id, enabled=True).first()
    state = EventState.objects.get(pk=integration_id)
    opened = 0
    keys = list(EventKey.objects.filter(pk__in=pks).order_by("due_at"))
    if integration is not None and not suspended_until(integration, now=now):
        waiting = {key.key_hash: load_event(key.waiting) for key in keys if key.waiting is not None}
        EventAlerts(integration, state, now=now).open_now(waiting)
        opened = len(waiting)
        state.save()
    EventKey.objects.filter(pk__in=pks).update(waiting=None, waiting_since=[], due_at=None, changed_at=now)
    return opened


def _close_due(*, now: datetime) -> int:
    """Close alerts to which no event came in time; one that fails is tried again later, and holds up no other."""
    over = Alert.objects.filter(status__in=sorted(LIVE), closes_at__lte=now).order_by("closes_at")
    pks = list(over.values_list("pk", flat=True)[:AT_ONCE])
    if not pks:
        return 0
    with transaction.atomic():
        return run_batch_isolating_failures(
            sorted(pks),
            batch_name="alerts without events",
            act=partial(_close_alerts, now=now),
            quarantine=partial(_leave_open, now=now),
        )


def _close_alerts(pks: Sequence[int], *, now: datetime) -> int:
    # Checked again under the locks, which are taken in id order: an event may just have come.
    still = Alert.objects.filter(pk__in=pks, status__in=sorted(LIVE), closes_at__lte=now).order_by("pk")
    rows = list(still.select_for_update(no_key=True).values_list("pk", "integration_id"))
    integrations = InboundIntegration.objects.select_related("event_settings").in_bulk({pk or 0 for _, pk in rows})
    by_reason: dict[str, list[int]] = defaultdict(list)
    for pk, integration_id in rows:
        by_reason[_reason(integrations.get(integration_id or 0))].append(pk)
    closed: list[int] = []
    for reason, alert_ids in by_reason.items():
        closed += close_alerts(alert_ids, reason=reason, now=now)
    write_recovery_notices(sorted(closed), now=now)
    return len(closed)


def _leave_open(pk: int, error: Exception, *, now: datetime) -> None:  # noqa: ARG001 - the caller logs the error
    """Try the alert again in a minute, behind those that are due by then."""
    Alert.objects.filter(pk=pk).update(closes_at=now + AGAIN_AFTER)


def _reason(integration: InboundIntegration | None) -> str:
    if integration is None:
        return "closed by its integration, which was deleted"
    length = exactly(minutes(integration.event_settings.auto_close_minutes))
    return f"closed by {integration.name}: no event came for {length}"
