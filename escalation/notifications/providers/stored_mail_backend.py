"""The mail backend of an installation without EMAIL_URL: stores mails in the database, where the admin lists them."""

from collections.abc import Sequence
from typing import Any, Final

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend

from accounts.models.groups import Group
from accounts.models.users import User
from escalation.models.sending import StoredMail
from heartbeat_project.kernel import clock

# Number of mails that are kept; older ones are deleted with each new one.
KEPT: Final = 1_000


class EmailBackend(BaseEmailBackend):
    """Stores mails as rows and keeps the newest KEPT of them."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Store the mails and return their number."""
        now = clock.now()
        stored = StoredMail.objects.bulk_create(
            StoredMail(
                at=now,
                sender=message.from_email[:320],
                recipients=", ".join(message.recipients()),
                subject=str(message.subject)[:500],
                text=str(message.body),
                html=_html(message),
                message_id=str(message.extra_headers.get("Message-ID", ""))[:200],
                user=_reader(message),
            )
            for message in email_messages
        )
        oldest = StoredMail.objects.order_by("-id").values_list("id", flat=True)[KEPT : KEPT + 1]
        StoredMail.objects.filter(id__lte=oldest[0] if oldest else 0).delete()
        return len(stored)


def _html(message: EmailMessage) -> str:
    if not isinstance(message, EmailMultiAlternatives):
        return ""
    alternatives: list[Any] = message.alternatives
    return next((str(content) for content, kind in alternatives if kind == "text/html"), "")


def _reader(message: EmailMessage) -> User | None:
    """Return the user whose address the mail's only recipient is; None if there is no such user, or several.

    For a mailbox that a group shares it is the Owner, so that the right organization can read the mail.
    """
    recipients = [address.lower() for address in message.recipients()]
    if len(recipients) != 1:
        return None
    # No index serves iexact. That is fine here: one mail at a time, in installations with few people.
    users = User.objects.filter(contact_methods__address__iexact=recipients[0]).distinct()[:2]
    if not users:
        sharing = Group.objects.filter(contact_methods__address__iexact=recipients[0]).values("organization")
        users = User.objects.filter(organization__in=sharing, is_owner=True)[:2]
    return users[0] if len(users) == 1 else None
