"""Release a restored installation: from then on deadlines are judged and people are notified again."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from accounts.models.installation import Restore
from accounts.models.users import User
from accounts.services.audit import record_audit_everywhere
from accounts.services.restores import held_restore, mark_released
from alerting.models.alerts import Alert
from alerting.states import Status
from escalation.models.notifications import Notification
from escalation.notifications.after_restore import give_owners_their_time, old_news, put_old_news_away
from heartbeat_project.kernel.wakeup import wake_on_commit
from integrations.heartbeats.recoveries import close_recovered
from integrations.models.heartbeats import Heartbeat
from integrations.models.outages import Outage

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasePreview:
    """What a release will do, counted over all organizations.

    `missing` is the time since the backup. `unsent` notifications will be sent; `dropped` ones are too old.
    """

    restore: Restore
    missing: timedelta
    running_timers: int
    open_alerts: int
    unsent: int
    dropped: int


def preview_release(*, now: datetime) -> ReleasePreview | None:
    """Return what releasing the installation will do; None if it is not held."""
    restore = held_restore()
    if restore is None:
        return None
    dropped = old_news(taken_at=restore.taken_at)
    return ReleasePreview(
        restore=restore,
        missing=now - restore.taken_at,
        running_timers=Heartbeat.objects.filter(
            state__in=[Heartbeat.State.WAITING, Heartbeat.State.HEALTHY], deadline_at__isnull=False
        ).count(),
        open_alerts=Alert.objects.filter(status=Status.OPEN).count(),
        unsent=Notification.objects.filter(next_attempt_at__isnull=False).count() - dropped,
        dropped=dropped,
    )


def release(*, by: User | None, now: datetime) -> Restore | None:
    """Let engine and delivery run again after a restore; return the restore, or None if nothing was held.

    All of it is one transaction, so that nothing is judged before the time since the backup is noted as an outage of
    ours. Alerts whose heartbeats have pinged since the restore close, and notifications that are too old are dropped.
    Of two concurrent calls, one does all of it.
    """
    with transaction.atomic():
        restore = mark_released(by=by, now=now)
        if restore is None:
            return None
        record_audit_everywhere(action="released", object_type="installation")
        _note_outage(restore.taken_at, now=now)
        put_old_news_away(taken_at=restore.taken_at)
        give_owners_their_time(taken_at=restore.taken_at, now=now)
        close_recovered(now=now)
        for name, queue in (("integrations.detect_misses", "engine"), ("escalation.deliver_due", "delivery")):
            wake_on_commit(name, queue=queue)
    released_by = f"user {by.pk}" if by else "the command line"
    log.warning("Released by %s: deadlines are judged and people are notified again.", released_by)
    return restore


def _note_outage(taken_at: datetime, *, now: datetime) -> None:
    """Note the time since the backup as one outage, instead of those that pulses found while nothing was judged."""
    later_outages = Outage.objects.filter(done_at=None, ended_at__gt=taken_at)
    started_at = min([taken_at, *later_outages.values_list("started_at", flat=True)])
    later_outages.delete()
    Outage.objects.create(started_at=started_at, ended_at=max(now, started_at + timedelta(seconds=1)))
