"""The ways in which people are told, by ContactMethod.kind."""

from collections import defaultdict, deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from django.utils.crypto import salted_hmac

from escalation.channels import circuits, phone
from escalation.channels.apprise import AppriseChannel
from escalation.channels.base import Channel, DeliveryError, Message
from escalation.channels.chat import ChatChannel
from escalation.channels.email import EmailChannel
from escalation.channels.push import PushChannel
from escalation.channels.webhook import WebhookChannel

CHANNELS: dict[str, Callable[[], Channel]] = {
    "email": EmailChannel,
    "sms": phone.sms,
    "voice": phone.voice,
    "push": PushChannel,
    "chat": ChatChannel,
    "webhook": WebhookChannel,
    "apprise": AppriseChannel,
}

# Each address of these is somebody's own endpoint, and has a circuit of its own; to all others one server leads.
ENDPOINTS: Final = frozenset({"webhook", "chat", "push", "apprise"})
# Nobody can tell whether such a message arrived, and a second one would ring a second time: it is never sent again.
NEVER_AGAIN: Final = frozenset({"sms", "voice"})


class Switchboard:
    """The channels of one round of deliveries; one that is open and idle is used again. Threads may share it."""

    def __init__(self) -> None:
        self._idle: defaultdict[str, deque[Channel]] = defaultdict(deque)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channels in self._idle.values():
            for channel in channels:
                channel.close()

    def send(self, name: str, message: Message, *, by_hand: bool = False) -> str:
        """Send over the channel of this name; raise DeliveryError when it fails or does not exist.

        `by_hand`: somebody tries just now whether it works, and an endpoint is not left alone.
        """
        if name not in CHANNELS:
            raise DeliveryError(f"There is no channel named {name}.", permanent=True)
        if name not in ENDPOINTS:
            return self._send(name, message)
        circuit = endpoint(name, message.address)
        if by_hand:
            taken = self._send(name, message)
            circuits.record_success(circuit)
            return taken
        return circuits.through(circuit, lambda: self._send(name, message), counts=_is_the_endpoints, now=message.at)

    def _send(self, name: str, message: Message) -> str:
        idle = self._idle[name]
        try:
            channel = idle.pop()
        except IndexError:
            channel = CHANNELS[name]()
        try:
            return channel.send(message)
        finally:
            idle.append(channel)


def endpoint(channel: str, address: str) -> str:
    """Return the name of the endpoint's circuit, at most 40 characters; the address is secret and not in it."""
    digest = salted_hmac("escalation.endpoint", address, algorithm="sha256").hexdigest()
    return f"{channel} {digest[:32]}"


def _is_the_endpoints(error: DeliveryError) -> bool:
    """Answer whether the endpoint failed, instead of refusing the message or asking for a little time."""
    return not error.permanent and error.retry_after is None
