"""SMS and voice: the providers of a kind in order, each tried when the one before it did not take the message."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.conf import settings

from escalation.channels import circuits, gateway, texts, twilio
from escalation.channels.base import DeliveryError, Message, let_go_of_the_database
from escalation.services.limits import PER_PROVIDER, take

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's name and how it sends a message as `sms` or `voice`; it returns its own id for it."""

    name: str
    send: Callable[..., str]


PROVIDERS: Final = {
    "twilio": Provider("Twilio", twilio.send),
    "gateway": Provider("The gateway", gateway.send),
}


class PhoneChannel:
    """One kind of message to a phone number, over whichever of its providers takes it.

    Neither kind knows an idempotency key, so a message that may have been taken is not sent again, by nobody: it fails
    for good, and the person's next contact method is used.
    """

    def __init__(self, kind: str, providers: list[str]) -> None:
        self._kind = kind
        self._providers = [PROVIDERS[name] for name in providers]

    def send(self, message: Message) -> str:
        """Send the message and return the id that the provider gave it."""
        try:
            return self._send(message)
        except DeliveryError as error:
            # Whoever sees the alert reads the reason, and must not read the number in it.
            error.args = (str(error).replace(message.address, "the number"),)
            raise
        finally:
            let_go_of_the_database()

    def _send(self, message: Message) -> str:
        # Replies come back over Twilio, whoever sent the message.
        answered = bool(settings.TWILIO_AUTH_TOKEN) and "twilio" in settings.SMS_PROVIDERS
        text = texts.short(message, replies=answered) if self._kind == "sms" else texts.spoken(message)
        failures: list[DeliveryError] = []
        said: list[str] = []
        for provider in self._providers:
            try:
                return _try(provider, self._kind, message=message, text=text)
            except DeliveryError as error:
                said.append(f"{provider.name}: {error}")
                if error.uncertain:
                    raise DeliveryError(" ".join(said), permanent=True, uncertain=True) from error
                log.warning("%s did not take message %s", provider.name, message.id)
                failures.append(error)
        if not failures:
            raise DeliveryError(f"This installation has no provider for {self._kind}.", permanent=True)
        raise DeliveryError(
            " ".join(said),
            permanent=all(error.permanent for error in failures),
            retry_after=_soonest(failures),
            untried=all(error.untried for error in failures),
            left_alone=all(error.left_alone or error.permanent for error in failures),
            # Only when no provider failed in another way, which would have to be asked about this number, too.
            bad_address=all(error.bad_address for error in failures),
        )

    def close(self) -> None:
        """Have nothing to let go of."""


def sms() -> PhoneChannel:
    """Return the channel for SMS."""
    return PhoneChannel("sms", settings.SMS_PROVIDERS)


def voice() -> PhoneChannel:
    """Return the channel for calls."""
    return PhoneChannel("voice", settings.VOICE_PROVIDERS)


def _try(provider: Provider, kind: str, *, message: Message, text: str) -> str:
    """Send over one provider, unless it is left alone for a while, and keep how it did."""

    def send() -> str:
        if (wait := take(f"provider {provider.name}", PER_PROVIDER, now=message.at)) is not None:
            raise DeliveryError("has as many messages as it takes in a minute.", retry_after=wait, untried=True)
        return provider.send(kind, message=message, text=text)

    return circuits.through(provider.name, send, counts=_is_the_providers, now=message.at)


def _is_the_providers(error: DeliveryError) -> bool:
    """Answer whether it says something about the provider: no answer, garbage, 5xx, 429."""
    return not error.untried and (error.uncertain or not error.permanent)


def _soonest(failures: list[DeliveryError]) -> timedelta | None:
    """Return when the first of them wants to be asked again; None when one of them named no time."""
    waiting = [error for error in failures if not error.permanent]
    # A pause may be long: whoever can be asked sooner decides.
    waits = [error.retry_after for error in waiting if not error.left_alone] or [each.retry_after for each in waiting]
    return min((wait for wait in waits if wait is not None), default=None) if None not in waits else None
