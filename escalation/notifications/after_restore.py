"""After a restore: brings the outbox and the escalations up to date with the time that is missing in the backup."""

from datetime import datetime

from django.db.models import F, Q

from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun

# Recoveries and notices that were due at the time of the backup were sent since then, or are old news. Pages are not
# among them: a page of an open alert goes out again, because nobody knows whether it arrived.
OLD_NEWS = Q(kind__in=[Notification.Kind.RECOVERY, Notification.Kind.NOTICE], next_attempt_at__isnull=False)


def old_news(*, taken_at: datetime) -> int:
    """Return the number of recoveries and notices in the outbox that were written before the backup."""
    return Notification.objects.filter(OLD_NEWS, created_at__lte=taken_at).count()


def put_old_news_away(*, taken_at: datetime) -> int:
    """Supersede the recoveries and notices in the outbox that were written before the backup; return their number."""
    return Notification.objects.filter(OLD_NEWS, created_at__lte=taken_at).update(
        status=Notification.Status.SUPERSEDED, next_attempt_at=None
    )


def give_owners_their_time(*, taken_at: datetime, now: datetime) -> int:
    """Give people who had taken an alert the time that they had left at the backup; return the number of alerts.

    Their actions since the backup are lost, and nobody could remind them.
    """
    return EscalationRun.objects.filter(review_at__gt=taken_at).update(review_at=F("review_at") + (now - taken_at))
