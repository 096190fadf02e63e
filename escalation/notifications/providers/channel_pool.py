"""The channel pool: sends messages by ContactMethod.kind, through the circuit breakers of their providers."""

from collections import defaultdict, deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from django.utils.crypto import salted_hmac

from accounts.contact_kinds import ENDPOINTS
from escalation.channels.apprise import AppriseChannel
from escalation.channels.base import Channel, DeliveryError, Message
from escalation.channels.chat import ChatChannel
from escalation.channels.email import EmailChannel
from escalation.channels.push import PushChannel
from escalation.channels.webhook import WebhookChannel
from escalation.notifications.providers import circuit_breakers, phone

CHANNELS: dict[str, Callable[[], Channel]] = {
    "email": EmailChannel,
    "sms": phone.sms,
    "voice": phone.voice,
    "push": PushChannel,
    "chat": ChatChannel,
    "webhook": WebhookChannel,
    "apprise": AppriseChannel,
}
# The one server to which all mail goes.
MAIL_SERVER: Final = circuit_breakers.Provider("mail server", "email")


class ChannelPool:
    """Open channels that are used again for the next message, such as a connection to the mail server.

    Threads may share a pool: each send takes a channel of its own.
    """

    def __init__(self) -> None:
        self._idle: defaultdict[str, deque[Channel]] = defaultdict(deque)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_idle()

    def send(self, name: str, message: Message, *, by_hand: bool = False) -> str:
        """Send over the channel of this name and return the provider's id.

        With `by_hand` a person is testing the contact method just now: open circuit breakers are ignored. Raises
        DeliveryError if the send fails, a circuit breaker is open, or there is no such channel.
        """
        if name not in CHANNELS:
            raise DeliveryError(f"There is no channel named {name}.", permanent=True)
        if name == "email":
            return self._mail(message, by_hand=by_hand)
        if name not in ENDPOINTS:
            return self._send(name, message)
        provider = circuit_breakers.Provider(endpoint(name, message.address), name, message.address)
        if by_hand:
            provider_id = self._send(name, message)
            circuit_breakers.record_success(provider, now=message.at)
            return provider_id
        return circuit_breakers.call(
            provider, lambda: self._send(name, message), counts=_is_endpoint_failure, now=message.at
        )

    def _mail(self, message: Message, *, by_hand: bool) -> str:
        """Send a mail, unless the circuit breaker of its mailbox or of the mail server is open.

        A server's answer to RCPT or DATA is about the mailbox, and counts against that mailbox and organization only.
        """
        address = endpoint("email", f"{message.organization} {message.address}")
        mailbox = circuit_breakers.Provider(address, "email", message.address)

        def send() -> str:
            return self._send("email", message)

        if by_hand:
            provider_id = send()
            circuit_breakers.record_success(MAIL_SERVER, now=message.at)
            circuit_breakers.record_success(mailbox, now=message.at)
            return provider_id
        # Both states in one query, for the two calls below.
        known = circuit_breakers.look_up(mailbox, MAIL_SERVER)

        def send_over_server() -> str:
            return circuit_breakers.call(
                MAIL_SERVER, send, counts=_is_server_failure, works=_has_server_answered, known=known, now=message.at
            )

        return circuit_breakers.call(mailbox, send_over_server, counts=_is_mailbox_failure, known=known, now=message.at)

    def close_idle(self) -> None:
        """Close the channels that no send uses now."""
        for channels in self._idle.values():
            while channels:
                channels.pop().close()

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
    """Return the name of the endpoint's circuit breaker, at most 40 characters.

    It has a keyed digest in the place of the address, because addresses of endpoints are secret.
    """
    digest = salted_hmac("escalation.endpoint", address, algorithm="sha256").hexdigest()
    return f"{channel} {digest[:32]}"


def _is_endpoint_failure(error: DeliveryError) -> bool:
    """Return whether the endpoint failed; refusing one message, or asking for a little time, is no failure."""
    return not error.permanent and error.retry_after is None


def _is_server_failure(error: DeliveryError) -> bool:
    return error.of_host


def _has_server_answered(error: DeliveryError) -> bool:
    """Return whether the server works: it was asked, and refused only this mail or mailbox."""
    return not error.of_host and not error.untried


def _is_mailbox_failure(error: DeliveryError) -> bool:
    return not error.of_host and _is_endpoint_failure(error)
