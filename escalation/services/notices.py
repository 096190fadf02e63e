"""Notices that are not pages: that an alert recovered, and what the Owner should know."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from accounts.models import User
from escalation.models import EscalationRun, Notification
from escalation.services.last_resort import email_to, official_addresses
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import array, statement

SUBJECT_LENGTH = 300


def write_recovery_notices(alert_ids: Sequence[int], *, now: datetime) -> None:
    """Tell those who were told about these closed alerts that they recovered, and put away what was not sent yet."""
    if not alert_ids:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        unfinished = Q(next_step_at__isnull=False) | Q(review_at__isnull=False)
        EscalationRun.objects.filter(unfinished, alert__in=alert_ids).update(
            next_step_at=None, review="", review_at=None
        )
        parameters: dict[str, Any] = {"ids": array(alert_ids), "urgency": Notification.Urgency.NEWS, "now": now}
        cursor.execute(statement("escalation", "write_recoveries"), parameters)
        if cursor.rowcount:
            ring("escalation.deliver_due", queue="delivery")


def write_owner_notice(organization_id: int, *, subject: str, text: str, now: datetime) -> None:
    """Write an e-mail to the organization's Owner about something that is not an alert."""
    owner = User.objects.filter(organization_id=organization_id, is_owner=True)
    rows = []
    for method in official_addresses(owner).values():
        row = email_to(method, kind=Notification.Kind.NOTICE, organization_id=organization_id, now=now)
        row.subject, row.text = subject[:SUBJECT_LENGTH], text
        rows.append(row)
    if rows:
        Notification.objects.bulk_create(rows)
        ring("escalation.deliver_due", queue="delivery")


def write_answer(told: Notification, *, said: str, now: datetime) -> None:
    """Write to the person who was told what came of their reply, over the same contact method."""
    if told.contact_method is None or told.user is None or not told.user.is_active:
        return
    row = email_to(told.contact_method, kind=Notification.Kind.NOTICE, organization_id=told.organization_id, now=now)
    row.subject, row.text = f"Re: alert #{told.alert_id}", said
    row.save(force_insert=True)
    ring("escalation.deliver_due", queue="delivery")
