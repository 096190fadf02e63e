"""The mail backend of an installation without EMAIL_URL: messages are kept, and the admin's outbox shows them."""

from collections.abc import Sequence
from typing import Any, Final

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend

from accounts.models import Group, User
from escalation.models import KeptMessage
from heartbeat_project.kernel import clock

KEPT: Final = 1_000


class EmailBackend(BaseEmailBackend):
    """Keep messages as rows, the newest thousand of them."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Keep the messages and return how many."""
        now = clock.now()
        kept = KeptMessage.objects.bulk_create(
            KeptMessage(
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
        oldest = KeptMessage.objects.order_by("-id").values_list("id", flat=True)[KEPT : KEPT + 1]
        KeptMessage.objects.filter(id__lte=oldest[0] if oldest else 0).delete()
        return len(kept)


def _html(message: EmailMessage) -> str:
    if not isinstance(message, EmailMultiAlternatives):
        return ""
    alternatives: list[Any] = message.alternatives
    return next((str(content) for content, kind in alternatives if kind == "text/html"), "")


def _reader(message: EmailMessage) -> User | None:
    """Return the one user who has the address of the message's one recipient.

    What went to a mailbox that a group shares is kept for the Owner, so that the right organization can read it.
    """
    recipients = [address.lower() for address in message.recipients()]
    if len(recipients) != 1:
        return None
    # iexact could not use an index on a long table; there is one mail at a time and few people.
    users = User.objects.filter(contact_methods__address__iexact=recipients[0]).distinct()[:2]
    if not users:
        sharing = Group.objects.filter(contact_methods__address__iexact=recipients[0]).values("organization")
        users = User.objects.filter(organization__in=sharing, is_owner=True)[:2]
    return users[0] if len(users) == 1 else None
