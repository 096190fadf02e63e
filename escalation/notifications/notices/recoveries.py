"""Notices that alerts recovered: one to each person who was notified of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.notifications.notices.recovery_methods import recovery_methods
from heartbeat_project.kernel.sql import array, records, statement
from heartbeat_project.kernel.wakeup import wake_on_commit


def write_recovery_notices(alert_ids: Sequence[int], *, now: datetime) -> None:
    """Write recovery notices about these closed alerts, end their runs, and supersede messages that were not sent yet.

    Each person who was notified gets one notice, over one contact method; each contact that a group shares, its own.
    """
    if not alert_ids:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        unfinished = Q(next_step_at__isnull=False) | Q(review_at__isnull=False)
        EscalationRun.objects.filter(unfinished, alert__in=alert_ids).update(
            next_step_at=None, review="", review_at=None
        )
        parameters: dict[str, Any] = {
            "ids": array(alert_ids),
            "methods": records(recovery_methods(alert_ids, now=now)),
            "urgency": Notification.Urgency.NEWS,
            "now": now,
        }
        cursor.execute(statement("escalation", "write_recoveries"), parameters)
        if cursor.rowcount:
            wake_on_commit("escalation.deliver_due", queue="delivery")
