"""The kinds of contact methods, one entry each: what the pages, the checks and the delivery need to know of it (pure).

A new kind of channel needs an entry here, a member of ContactMethod.Kind, and a channel in the channel pool.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Final

# How long to wait after each failure in turn, and after all further ones as after the last. The third retry is within
# the minute after which the escalation goes on.
PAUSES: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 30, 120, 300))
# To a phone at most three tries go in an hour, also with the one that is added when its provider works again. The third
# pause is for that one, and is skipped if none was added.
PHONE_PAUSES: Final = tuple(timedelta(minutes=minutes) for minutes in (0.5, 30, 60, 30))


class AddressType(Enum):
    """How an address is written; accounts.addresses checks, compares and masks it by this."""

    EMAIL = auto()
    PHONE_NUMBER = auto()
    PUSH_SUBSCRIPTION = auto()
    WEB_ADDRESS = auto()
    APPRISE_URL = auto()


@dataclass(frozen=True, slots=True)
class FormTexts:
    """What the pages say where a contact method of this kind is added.

    `add` completes "Add ...", `address` and `help` stand at the field, `label` is a suggestion. `shared_label` is the
    suggestion for a group.
    """

    add: str
    address: str
    help: str
    label: str
    shared_label: str = ""


@dataclass(frozen=True, slots=True)
class ContactKind:
    """One kind of contact method, and the channel that sends over it.

    `action_label` names it in a policy, `message_noun` one message of it, `address_noun` its address. `notice_rank` and
    `recovery_rank` order the kinds by how much they disturb, the quietest first; no recovery goes over a kind without a
    rank. `is_shared`: a group may have it. `by_hand`: its address is typed in.

    `has_own_endpoint`: each address is somebody's own server, and has a circuit breaker of its own. `pauses`: how long
    to wait after each failure in turn.
    """

    code: str
    label: str
    action_label: str
    message_noun: str
    address_type: AddressType
    form: FormTexts
    notice_rank: int
    recovery_rank: int | None
    address_noun: str = "address"
    is_shared: bool = False
    by_hand: bool = True
    has_own_endpoint: bool = False
    pauses: tuple[timedelta, ...] = PAUSES


_NUMBER_HELP: Final = "With its country code, such as +49 1512 3456789."
_KINDS: Final = (
    ContactKind(
        code="email",
        label="E-mail",
        action_label="E-mail",
        message_noun="an e-mail",
        address_type=AddressType.EMAIL,
        form=FormTexts("an e-mail address", "E-mail address", "", "Email-Personal", shared_label="Mailbox"),
        notice_rank=0,
        recovery_rank=1,
        is_shared=True,
    ),
    ContactKind(
        code="sms",
        label="SMS",
        action_label="SMS",
        message_noun="an SMS",
        address_type=AddressType.PHONE_NUMBER,
        form=FormTexts("a number for SMS", "Phone number", _NUMBER_HELP, "SMS-Personal"),
        notice_rank=4,
        recovery_rank=4,
        address_noun="number",
        pauses=PHONE_PAUSES,
    ),
    ContactKind(
        code="voice",
        label="Call",
        action_label="Voice",
        message_noun="a message",
        address_type=AddressType.PHONE_NUMBER,
        form=FormTexts("a number to call", "Phone number", _NUMBER_HELP, "Voice-Personal"),
        notice_rank=6,
        recovery_rank=None,  # a call would wake somebody to say that all is well
        address_noun="number",
        pauses=PHONE_PAUSES,
    ),
    ContactKind(
        code="push",
        label="Push",
        action_label="Push",
        message_noun="a push message",
        address_type=AddressType.PUSH_SUBSCRIPTION,
        form=FormTexts("this browser", "Subscription", "", "Push-Official"),
        notice_rank=1,
        recovery_rank=0,
        address_noun="browser",
        by_hand=False,
        has_own_endpoint=True,
    ),
    ContactKind(
        code="chat",
        label="Chat",
        action_label="Chat",
        message_noun="a chat message",
        address_type=AddressType.WEB_ADDRESS,
        form=FormTexts(
            "a chat channel",
            "Address of an incoming webhook",
            "Of Slack, Mattermost, Rocket.Chat or Microsoft Teams. Everybody in the channel reads along, the code too.",
            "Chat-Official",
            shared_label="Channel",
        ),
        notice_rank=2,
        recovery_rank=2,
        is_shared=True,
        has_own_endpoint=True,
    ),
    ContactKind(
        code="webhook",
        label="Webhook",
        action_label="Webhook",
        message_noun="a message",
        address_type=AddressType.WEB_ADDRESS,
        form=FormTexts(
            "a webhook",
            "Address",
            "It gets a signed POST with JSON. Its signing secret is shown here once it is confirmed.",
            "Webhook-Official",
            shared_label="Webhook",
        ),
        notice_rank=5,
        recovery_rank=3,
        is_shared=True,
        has_own_endpoint=True,
    ),
    ContactKind(
        code="apprise",
        label="Apprise",
        action_label="Apprise",
        message_noun="a message",
        address_type=AddressType.APPRISE_URL,
        form=FormTexts(
            "another service", "Apprise URL", "Such as tgram://token/chat-id for Telegram, or ntfys://topic.", "Other"
        ),
        notice_rank=3,
        recovery_rank=3,
        has_own_endpoint=True,
    ),
)
CONTACT_KINDS: Final = {kind.code: kind for kind in _KINDS}
# Each address of these has a circuit breaker of its own.
ENDPOINTS: Final = frozenset(kind.code for kind in _KINDS if kind.has_own_endpoint)
# These ring a phone. A message whose outcome is unknown is never sent again, there are few retries, and there is a rate
# limit for each phone. Two refusals in a row mark a number as failing, since a phone may have been out of reach once.
PHONES: Final = frozenset(kind.code for kind in _KINDS if kind.address_type is AddressType.PHONE_NUMBER)
