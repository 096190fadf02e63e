"""What every channel takes and gives."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from django.db import connection

from alerting.models import Alert
from escalation.walk import Coming


@dataclass(frozen=True, slots=True)
class Bundle:
    """Many alerts told of in one message: how many, the first of them, and the page that lists all.

    `reason` is why the reader is notified of all of them, where there is one.
    """

    count: int
    listed: Sequence[Alert]
    link: str
    reason: str = ""

    @property
    def only_tests(self) -> bool:
        """Answer whether nothing in it is in earnest."""
        return self.count == len(self.listed) and all(alert.is_test for alert in self.listed)


@dataclass(frozen=True, slots=True)
class Message:
    """What one person is told over one contact method.

    `id` is the idempotency key: a message that is sent again because nobody knows whether it arrived carries the same.
    `at` is the moment of sending, `coming` what the walk does next, `text` a notice, or why the
    reader is notified.
    A message about many alerts has a `bundle` and no `alert`; `subject` and `text` then say the same in short, for a
    channel that cannot list them.
    """

    id: uuid.UUID
    kind: str
    address: str
    reader: str
    time_zone: str
    at: datetime
    alert: Alert | None = None
    coming: Coming | None = None
    subject: str = ""
    text: str = ""
    bundle: Bundle | None = None


class DeliveryError(Exception):
    """The provider did not take the message; `permanent` says that trying again is of no use.

    `uncertain` says that it may have been taken: the request was on its way when the answer stayed away. `retry_after`
    is how long the provider asks to be left alone. `untried` says that nobody was asked:
    a limit of ours stood before it, or, as `left_alone` says, whoever would be asked failed again and again.
    `bad_address` says that it is the address, and not the message, the moment, the way there or ourselves: then the
    error is permanent, too, and the contact method may be marked as failing.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        uncertain: bool = False,
        retry_after: timedelta | None = None,
        untried: bool = False,
        left_alone: bool = False,
        bad_address: bool = False,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent or bad_address
        self.bad_address = bad_address
        self.uncertain = uncertain
        self.retry_after = retry_after
        self.untried = untried
        self.left_alone = left_alone


def let_go_of_the_database() -> None:
    """Give this thread's connection back before something that may hang; many threads send, and few connections are."""
    if not connection.in_atomic_block:
        connection.close()


class Channel(Protocol):
    """A way to send messages. One instance sends one message at a time, and is closed after a round of deliveries."""

    def send(self, message: Message) -> str:
        """Send the message and return the provider's id for it; raise DeliveryError otherwise."""

    def close(self) -> None:
        """Let go of connections."""
