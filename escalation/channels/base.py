"""What every channel takes and gives: a message with all that it prints, an id or a DeliveryError."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from alerting.states import Action
from escalation.channels.message_kinds import TO_OWNER, MessageKind

# Priorities that stand at the beginning of a message, and make a mail important.
URGENT: Final = frozenset({"critical", "high"})


@dataclass(frozen=True, slots=True)
class BridgeSnapshot:
    """A conference line as it was when the message was written."""

    name: str
    phone_number: str = ""
    access_code: str = ""
    meeting_url: str = ""


@dataclass(frozen=True, slots=True)
class AlertSnapshot:
    """An alert as it was when the message was written; the fields are those of alerting.Alert.

    `known_as` is what people call it, `ends_when` what closes it by itself, `acknowledged_by` a person's name.
    `respond_url` is where the reader of a bundle responds to this alert alone; empty if that is not allowed.
    """

    id: int
    status: str
    status_label: str
    priority: str
    priority_label: str
    subject: str
    short_text: str
    long_text: str
    source: str
    source_name: str
    source_id: str
    known_as: str
    opened_at: datetime
    facts: Sequence[Mapping[str, Any]] = ()
    url: str = ""
    is_test: bool = False
    ends_when: str = ""
    expected_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    closed_at: datetime | None = None
    close_reason: str = ""
    bridge: BridgeSnapshot | None = None
    respond_url: str = ""

    @property
    def is_urgent(self) -> bool:
        """Return whether the priority is Critical or High."""
        return self.priority in URGENT

    @property
    def urgent_label(self) -> str:
        """Return the priority as a person reads it if it is Critical or High, else nothing."""
        return self.priority_label if self.is_urgent else ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Many alerts in one message: how many, the first of them, and the page that lists all.

    `reason` says why the reader is notified of all of them, if there is a reason; `summary` says what they are.
    """

    count: int
    listed: Sequence[AlertSnapshot]
    link: str
    reason: str = ""
    summary: str = ""

    @property
    def urgent_label(self) -> str:
        """Return the priority of the most important alert, which is listed first, if it is Critical or High."""
        return self.listed[0].urgent_label if self.listed else ""

    @property
    def only_tests(self) -> bool:
        """Return whether every alert in it is a test."""
        return self.count == len(self.listed) and all(alert.is_test for alert in self.listed)


@dataclass(frozen=True, slots=True)
class AllowedAction:
    """Something that the reader may do, and the caption of its button."""

    action: Action
    caption: str


@dataclass(frozen=True, slots=True)
class ConferenceLine:
    """A conference line to be connected to: the number, and the code that is typed once it answers."""

    number: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class CallMenu:
    """What the person who is called may do by pressing keys.

    `token` stands for the message in the address to which the keys are posted. `many` says that a key acts on all
    alerts of the call, `to_owner` that the person has them. `addition` is a sentence said after the text.
    """

    token: str
    actions: Sequence[Action]
    line: ConferenceLine | None = None
    many: bool = False
    to_owner: bool = False
    addition: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one person over one contact method, with all that any channel prints.

    `escalation.notifications.message` fills it, so that no channel asks the database.

    `id` is the idempotency key: a message that is sent again because nobody knows whether it arrived has the same.
    `at` is the moment of sending. `text` is a notice, or why the reader is notified; `speech` is what a voice says
    instead if `text` is made for the eye. `next_text` says what the escalation does next. A message that is
    `pressing` may use what rate limits keep free. `organization` is the id of the reader's organization.

    A message about many alerts has a `bundle` and no `alert`; `subject` and `text` then say the same in short, for a
    channel that cannot list them.

    `allowed_actions` are empty, and so are the addresses for responses, if the reader may not respond:
    `respond_url` is the page that needs no sign-in, `reply_address` takes mails, `button_token` stands for the message
    in a button whose presser the channel names, and `call_menu` is there for calls alone. `signing_secrets` are there
    for webhooks alone, the one of today first.
    """

    id: uuid.UUID
    kind: MessageKind
    address: str
    reader: str
    time_zone: str
    at: datetime
    alert: AlertSnapshot | None = None
    bundle: Bundle | None = None
    subject: str = ""
    text: str = ""
    speech: str = ""
    next_text: str = ""
    allowed_actions: Sequence[AllowedAction] = ()
    respond_url: str = ""
    reply_address: str = ""
    button_token: str = ""
    call_menu: CallMenu | None = None
    signing_secrets: Sequence[str] = ()
    pressing: bool = False
    organization: int = 0

    @property
    def to_owner(self) -> bool:
        """Return whether the reader has the alert."""
        return self.kind in TO_OWNER


class DeliveryError(Exception):
    """The provider did not take the message.

    permanent: trying again is of no use.
    uncertain: it may have been taken: the request was on its way when the answer stayed away.
    retry_after: how long the provider asks to be left alone.
    untried: nobody was asked, because a rate limit of ours or an open circuit breaker stood before it.
    unreached: somebody was asked, and could not be reached: no byte of the request was sent.
    circuit_open: the circuit breaker is open; whoever would be asked failed again and again.
    of_host: the mail server as a whole failed, or our way to it, and not this mail.
    bad_address: the address is wrong, and not the message, the moment, the way there or our own account; then the
    error is also permanent, and the contact method may be marked as failing.
    stopped: the owner of the number sent STOP.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        uncertain: bool = False,
        retry_after: timedelta | None = None,
        untried: bool = False,
        unreached: bool = False,
        circuit_open: bool = False,
        bad_address: bool = False,
        stopped: bool = False,
        of_host: bool = False,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent or bad_address
        self.bad_address = bad_address
        self.stopped = stopped
        self.uncertain = uncertain
        self.retry_after = retry_after
        self.untried = untried
        self.unreached = unreached
        self.circuit_open = circuit_open
        self.of_host = of_host


class Channel(Protocol):
    """A way to send messages. One instance sends one message at a time, and is closed after a round of deliveries."""

    def send(self, message: Message) -> str:
        """Send the message and return the provider's id for it; raise DeliveryError otherwise."""

    def close(self) -> None:
        """Close the connections that are open."""
