"""Notices to the operator of the installation: e-mails through the outbox, at most one an hour for each incident."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from escalation.engine.notices import SUBJECT_LENGTH, email_to, official_addresses
from escalation.models.notifications import Notification
from escalation.notifications.providers.rate_limits import Limit, acquire
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import one_line

log = logging.getLogger(__name__)

ONE_AN_HOUR: Final = Limit(1, timedelta(hours=1))
OPERATOR: Final = "Operator"
_standstill_mailed_at: Callable[[], float] | None = None


def ask_about_standstills(mailed_at: Callable[[], float] | None) -> None:
    """Set the function that returns when the operator was last mailed of a standstill, in seconds since 1970.

    That mail does not go through the outbox, which stands still, too.
    """
    global _standstill_mailed_at  # noqa: PLW0603 - one watch for each process
    _standstill_mailed_at = mailed_at


def notify_operator(incident: str, *, subject: str, text: str, now: datetime, part_of_standstill: bool = False) -> bool:
    """Write one e-mail to the operator, unless this incident had one within the hour; return whether it was written.

    `incident` is a short stable key such as "broker", at most 80 characters. The rate limit decides in one guarded
    statement, so that only one of several workers writes. The mail takes part in the caller's transaction.

    With `part_of_standstill` the incident is a consequence of a standstill: nothing is written if the operator was
    mailed of a standstill within the hour.
    """
    owner = first_owner()
    if owner is None:
        log.error("nobody can be notified, for there is no Owner yet: %s", subject)
        return False
    if part_of_standstill and _knows_already(now=now):
        return False
    with transaction.atomic():
        if acquire(f"operator notice {incident}", ONE_AN_HOUR, now=now) is not None:
            return False
        row = _mail(owner, now=now)
        row.subject, row.text = one_line(subject)[:SUBJECT_LENGTH], text
        row.save(force_insert=True)
        wake_on_commit("escalation.deliver_due", queue="delivery")
    return True


def _knows_already(*, now: datetime) -> bool:
    if _standstill_mailed_at is None:
        return False
    return 0 <= now.timestamp() - _standstill_mailed_at() < ONE_AN_HOUR.per.total_seconds()


def first_owner() -> User | None:
    """Return the Owner of the oldest organization that has one."""
    return User.objects.filter(is_owner=True, is_active=True).order_by("organization_id").first()


def operator_address() -> str:
    """Return the operator's address: HEARTBEAT_OPERATOR_EMAIL, else the first Owner's; "" if there is none yet."""
    if settings.OPERATOR_EMAIL:
        return str(settings.OPERATOR_EMAIL)
    owner = first_owner()
    return _mail(owner, now=owner.created_at).address if owner else ""


def _mail(owner: User, *, now: datetime) -> Notification:
    """Return an unsaved e-mail to the operator, with the first Owner's name and time zone, whatever its address is."""
    method = None if settings.OPERATOR_EMAIL else official_addresses([owner]).get(owner.pk)
    if method is not None:
        return email_to(method, kind=Notification.Kind.NOTICE, organization_id=owner.organization_id, now=now)
    return Notification(
        organization_id=owner.organization_id,
        kind=Notification.Kind.NOTICE,
        urgency=Notification.Urgency.NEWS,
        user=owner,
        channel=ContactMethod.Kind.EMAIL,
        label=OPERATOR,
        address=settings.OPERATOR_EMAIL or owner.email,
        created_at=now,
        next_attempt_at=now,
    )
