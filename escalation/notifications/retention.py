"""Retention: deletes old alerts with their timelines and notifications, old notices, and old stored mail."""

from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from escalation.models.notifications import Notification
from escalation.models.sending import StoredMail
from heartbeat_project.kernel.sql import statement


def delete_old_alerts(*, before: datetime, limit: int) -> int:
    """Delete up to `limit` alerts that ended before this moment, with all their rows; return the number of alerts.

    Alerts that are open, assigned or on hold stay, however old they are.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("escalation", "delete_old_alerts"), {"before": before, "limit": limit})
        return int(cursor.fetchone()[0])


def delete_old_notices(*, before: datetime, limit: int) -> int:
    """Delete up to `limit` notices that were written before this moment; return their number.

    Notices that still wait to be sent stay.
    """
    old = Notification.objects.filter(alert=None, created_at__lt=before, next_attempt_at=None)
    return Notification.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:limit])).delete()[0]


def delete_old_mail(*, before: datetime, limit: int) -> int:
    """Delete stored mail that was written before this moment, among the `limit` oldest; return the number."""
    return delete_oldest(StoredMail.objects.all(), before=before, limit=limit)


def delete_oldest(rows: QuerySet[Any], *, before: datetime, limit: int) -> int:
    """Delete rows with `at` before this moment, among the `limit` rows with the lowest ids; return the number.

    Ids grow with time, so this needs no index on the time and reads none of the younger rows.
    """
    first = rows.order_by("pk").values_list("pk", "at")[:limit]
    old = [pk for pk, at in first if at < before]
    return rows.filter(pk__in=old).delete()[0] if old else 0
