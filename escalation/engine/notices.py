"""Write e-mails about something other than an alert into the outbox."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from accounts.models.contact_methods import EMAIL_OFFICIAL, ContactMethod
from accounts.models.users import User
from escalation.models.notifications import Notification
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import one_line

# Characters: the width of Notification.subject.
SUBJECT_LENGTH = 300


def official_addresses(users: Iterable[User]) -> dict[int, ContactMethod]:
    """Return each user's Email-Official contact method by user id; everybody has one."""
    methods = ContactMethod.objects.select_related("user").filter(user__in=list(users), label=EMAIL_OFFICIAL)
    return {method.user_id or 0: method for method in methods}


def email_to(method: ContactMethod, *, kind: Notification.Kind, organization_id: int, now: datetime) -> Notification:
    """Return an unsaved last-resort message or notice over this contact method, due now."""
    urgency = Notification.Urgency.FIRST if kind == Notification.Kind.LAST_RESORT else Notification.Urgency.NEWS
    return Notification(
        organization_id=organization_id,
        kind=kind,
        urgency=urgency,
        user_id=method.user_id,
        contact_method=method,
        channel=method.kind,
        label=method.label,
        address=method.address,
        created_at=now,
        next_attempt_at=now,
    )


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail to one person about something that is not an alert."""

    user: User
    subject: str
    text: str


def write_owner_notice(organization_id: int, *, subject: str, text: str, now: datetime) -> None:
    """Write an e-mail to the organization's Owner about something that is not an alert."""
    owners = User.objects.filter(organization_id=organization_id, is_owner=True)
    write_letters([Letter(owner, subject, text) for owner in owners], now=now)


def write_letters(letters: Iterable[Letter], *, now: datetime) -> int:
    """Write these e-mails to their readers' official addresses; return the number written."""
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
        wake_on_commit("escalation.deliver_due", queue="delivery")
    return len(rows)
