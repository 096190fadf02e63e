"""Delete old rows: alerts that ended with all their rows, histories, events, outages, sessions, tokens."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.conf import settings
from django.contrib.sessions.models import Session

from accounts.services.chat_members import delete_old_codes
from escalation.notifications.retention import delete_old_alerts, delete_old_mail, delete_old_notices, delete_oldest
from integrations.availability.periods import delete_old_periods
from integrations.configuration.edits import delete_former_tokens
from integrations.inbound.chat.outbox import delete_old_messages, delete_old_threads
from integrations.inbound.mails import delete_old_events
from integrations.inbound.timers import delete_old_keys
from integrations.models.heartbeats import HeartbeatEvent
from integrations.models.outages import Outage

# Rows of one batch, which is one short transaction.
AT_ONCE: Final = 1_000
# Messages to chats that are done.
CHAT_KEPT_FOR: Final = timedelta(days=7)
# What is not deleted by then is left for the next run, ten minutes later.
BUDGET_SECONDS: Final = 10.0


def delete_what_is_old(*, now: datetime) -> None:
    """Delete rows past HEARTBEAT_ALERT_RETENTION_DAYS and sessions that ended, in batches, for BUDGET_SECONDS.

    Two runs may overlap. Pings have a retention of their own, see history.keep_history.
    """
    before = now - timedelta(days=settings.ALERT_RETENTION_DAYS)
    deletions: list[Callable[[], int]] = [
        partial(delete_old_alerts, before=before, limit=AT_ONCE),
        partial(delete_old_notices, before=before, limit=AT_ONCE),
        partial(delete_old_mail, before=before, limit=AT_ONCE),
        partial(delete_oldest, HeartbeatEvent.objects.all(), before=before, limit=AT_ONCE),
        partial(delete_old_periods, before=before, limit=AT_ONCE),
        partial(delete_old_events, now=now, limit=AT_ONCE),
        partial(delete_old_keys, now=now, limit=AT_ONCE),
        partial(delete_old_messages, now=now, kept_for=CHAT_KEPT_FOR, limit=AT_ONCE),
        partial(delete_old_threads, before=before, limit=AT_ONCE),
        partial(delete_old_codes, now=now, limit=AT_ONCE),
        partial(_delete_old_outages, before=before),
        partial(_delete_sessions, now=now),
        partial(delete_former_tokens, now=now, limit=AT_ONCE),
    ]
    until = time.monotonic() + BUDGET_SECONDS
    for delete in deletions:
        while delete() == AT_ONCE and time.monotonic() < until:
            pass


def _delete_old_outages(*, before: datetime) -> int:
    return Outage.objects.filter(ended_at__lt=before, done_at__isnull=False).delete()[0]


def _delete_sessions(*, now: datetime) -> int:
    ended = Session.objects.filter(expire_date__lt=now).order_by("expire_date").values_list("pk", flat=True)
    return Session.objects.filter(pk__in=list(ended[:AT_ONCE])).delete()[0]
