"""Unsent messages: how long the oldest has waited, how many were given up, and one sentence for the operator."""

from datetime import datetime, timedelta
from typing import Final

from django.db.models import Min

from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from escalation.notifications.claim import due_channels
from heartbeat_project.kernel.durations import in_words

# The installation is degraded if a message is due, or fails, for longer than this.
UNSENT_FOR: Final = timedelta(minutes=2)
# Messages that were given up longer ago than this are not counted any more.
LATELY: Final = timedelta(days=1)
# Messages are counted up to this number: more make no difference, and the count stays cheap.
_MAX_COUNT: Final = 1_000


def oldest_unsent_message(*, now: datetime) -> timedelta:
    """Return for how long the oldest unsent message has been due or has failed; zero if there is none.

    Failing messages have a small index of their own; due ones are read by channel, urgency and priority, one row each.
    """
    failing = Notification.objects.filter(failing_since__isnull=False, next_attempt_at__isnull=False).order_by()
    since: list[datetime | None] = [failing.aggregate(at=Min("failing_since"))["at"]]
    for channel, levels in due_channels(due_by=now).items():
        for urgency in levels:
            for rank in range(5):
                due = Notification.objects.filter(
                    channel=channel, urgency=urgency, priority_rank=rank, next_attempt_at__lte=now
                ).order_by("next_attempt_at")
                since += due.values_list("next_attempt_at", flat=True)[:1]
    return max((now - at for at in since if at is not None), default=timedelta())


def messages_given_up(*, now: datetime) -> int:
    """Return the number of pages and last resorts of open alerts that were given up within LATELY; at most 1,000."""
    given_up = Notification.objects.filter(
        status=Notification.Status.FAILED,
        created_at__gte=now - LATELY,
        kind__in=[Notification.Kind.PAGE, Notification.Kind.LAST_RESORT],
        alert__status=Alert.Status.OPEN,
    )
    return len(given_up.order_by().values_list("pk")[:_MAX_COUNT])


def what_is_unsent(*, now: datetime) -> str:
    """Return one sentence about what is not sent and what to do; "" if all messages go out."""
    waited = oldest_unsent_message(now=now)
    if waited < UNSENT_FOR:
        return ""
    worst = (
        Notification.objects.filter(failing_since__isnull=False, next_attempt_at__isnull=False)
        .order_by("failing_since")
        .values_list("channel", "last_error")
        .first()
    )
    if worst is None:
        return f"A message has been due for {in_words(waited)} and was not sent. Check that a delivery worker runs."
    channel, error = worst
    text = " ".join(error.split())[:200]
    return f"Messages have failed for {in_words(waited)} ({channel}: {text}). They are retried. Fix what causes this."
