"""Notices that are not pages: that an alert recovered, and what the Owner should know."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from accounts.models import User
from escalation.models import EscalationRun, Notification
from escalation.services.last_resort import email_to, official_addresses
from escalation.wording import one_line
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import array, statement

SUBJECT_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail to one person about something that is not an alert."""

    user: User
    subject: str
    text: str


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
    write_letters([Letter(user, subject, text) for user in owner], now=now)


def write_letters(letters: Iterable[Letter], *, now: datetime) -> int:
    """Write these e-mails to the people's official addresses; return how many."""
    letters = list(letters)
    addresses = official_addresses(letter.user for letter in letters)
    rows = []
    for letter in letters:
        method = addresses.get(letter.user.pk)
        if method is not None:
            organization_id = letter.user.organization_id
            row = email_to(method, kind=Notification.Kind.NOTICE, organization_id=organization_id, now=now)
            row.subject, row.text = one_line(letter.subject)[:SUBJECT_LENGTH], letter.text
            rows.append(row)
    if rows:
        Notification.objects.bulk_create(rows)
        ring("escalation.deliver_due", queue="delivery")
    return len(rows)


def write_answer(told: Notification, *, said: str, now: datetime) -> None:
    """Write to the person who was told what came of their reply, over the same contact method."""
    if told.contact_method is None or told.user is None or not told.user.is_active:
        return
    row = email_to(told.contact_method, kind=Notification.Kind.NOTICE, organization_id=told.organization_id, now=now)
    row.subject, row.text = f"Re: alert #{told.alert_id}", said
    row.save(force_insert=True)
    ring("escalation.deliver_due", queue="delivery")
