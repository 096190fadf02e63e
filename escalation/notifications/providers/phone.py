"""SMS and voice: the providers of a kind in order; the next one is tried if one did not accept the message."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.conf import settings

from escalation.channels import gateway, message_text, twilio
from escalation.channels.base import DeliveryError, Message
from escalation.notifications.providers import circuit_breakers
from escalation.notifications.providers.rate_limits import PER_PROVIDER, acquire
from heartbeat_project.kernel.database import release_connection

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's name, and its function that sends a message as `sms` or `voice` and returns the provider's id."""

    name: str
    send: Callable[..., str]


PROVIDERS: Final = {
    "twilio": Provider("Twilio", twilio.send),
    "gateway": Provider("The gateway", gateway.send),
}


class PhoneChannel:
    """Sends one kind of message to phone numbers, over the first of its providers that accepts it.

    Neither kind has an idempotency key, so a message that may have been accepted is never sent again: it fails for
    good, and the person's next contact method is used.
    """

    def __init__(self, kind: str, providers: list[str]) -> None:
        self._kind = kind
        self._providers = [PROVIDERS[name] for name in providers]

    def send(self, message: Message) -> str:
        """Send the message and return the provider's id; raise DeliveryError if no provider accepts it."""
        try:
            return self._send(message)
        except DeliveryError as error:
            # All users who see the alert can read the reason: the phone number must not stand in it.
            error.args = (str(error).replace(message.address, "the number"),)
            raise
        finally:
            release_connection()

    def _send(self, message: Message) -> str:
        # Only Twilio receives replies, also to a message that another provider sent.
        can_reply = bool(settings.TWILIO_AUTH_TOKEN) and "twilio" in settings.SMS_PROVIDERS
        text = message_text.short(message, replies=can_reply) if self._kind == "sms" else message_text.spoken(message)
        failures: list[DeliveryError] = []
        errors: list[str] = []
        for provider in self._providers:
            try:
                return _try(provider, self._kind, message=message, text=text)
            except DeliveryError as error:
                errors.append(f"{provider.name}: {error}")
                if error.uncertain:
                    raise DeliveryError(" ".join(errors), permanent=True, uncertain=True) from error
                log.warning("%s did not accept message %s", provider.name, message.id)
                failures.append(error)
        if not failures:
            raise DeliveryError(f"This installation has no provider for {self._kind}.", permanent=True)
        raise DeliveryError(
            " ".join(errors),
            permanent=all(error.permanent for error in failures),
            retry_after=_soonest(failures),
            untried=all(error.untried for error in failures),
            unreached=all(error.unreached or error.circuit_open for error in failures),
            circuit_open=all(error.circuit_open or error.permanent for error in failures),
            # Only if all providers say so: one that failed in another way might still accept the number.
            bad_address=all(error.bad_address for error in failures),
            stopped=all(error.stopped for error in failures),
        )

    def close(self) -> None:
        """Do nothing: each send opens and closes its own connection."""


def sms() -> PhoneChannel:
    """Return the channel for SMS, with the providers of the settings."""
    return PhoneChannel("sms", settings.SMS_PROVIDERS)


def voice() -> PhoneChannel:
    """Return the channel for calls, with the providers of the settings."""
    return PhoneChannel("voice", settings.VOICE_PROVIDERS)


def _try(provider: Provider, kind: str, *, message: Message, text: str) -> str:
    """Send over one provider, unless it is left alone for a while, and keep how it did."""

    def send() -> str:
        wait = acquire(f"provider {provider.name}", PER_PROVIDER, now=message.at, pressing=message.pressing)
        if wait is not None:
            raise DeliveryError("has as many messages as it takes in a minute.", retry_after=wait, untried=True)
        return provider.send(kind, message=message, text=text)

    return circuit_breakers.call(
        circuit_breakers.Provider(provider.name, kind), send, counts=_is_provider_failure, now=message.at
    )


def _is_provider_failure(error: DeliveryError) -> bool:
    """Return whether the error is a failure of the provider: no answer, garbage, 5xx or 429."""
    return not error.untried and (error.uncertain or not error.permanent)


def _soonest(failures: list[DeliveryError]) -> timedelta | None:
    """Return the shortest wait after which a provider may be tried again; None if one of them named no time."""
    temporary = [error for error in failures if not error.permanent]
    # The pause of a circuit breaker may be long, so it counts only if all of these providers have one.
    asked = [error for error in temporary if not error.circuit_open]
    waits: list[timedelta] = []
    for error in asked or temporary:
        if error.retry_after is None:
            return None
        waits.append(error.retry_after)
    return min(waits, default=None)
