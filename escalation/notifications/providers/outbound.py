"""What this installation needs to send over each channel, and whether it is set up; no secret and no address of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from accounts.contact_kinds import CONTACT_KINDS
from heartbeat_project.kernel.mail import mail_is_stored

_PROVIDERS: Final = {"twilio": "Twilio", "gateway": "the gateway"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundChannel:
    """One channel: `text` says how it sends, or why it does not; `variables` are the settings that decide it."""

    channel: str
    label: str
    is_set_up: bool
    text: str
    variables: tuple[str, ...] = ()


def outbound_channels() -> list[OutboundChannel]:
    """Return all channels, in the order of the kinds of contact methods."""
    return [_CHANNELS[kind.code](kind.code, kind.label) for kind in CONTACT_KINDS.values()]


def _email(channel: str, label: str) -> OutboundChannel:
    if mail_is_stored():
        text = "E-mail is stored and not sent: no mail server is set up."
    else:
        replies = "are read" if settings.REPLY_ADDRESS else "are not read"
        text = f"Sent as {settings.DEFAULT_FROM_EMAIL}. Replies {replies}."
    variables = ("EMAIL_URL", "HEARTBEAT_FROM_EMAIL", "HEARTBEAT_REPLY_ADDRESS")
    return OutboundChannel(channel=channel, label=label, is_set_up=not mail_is_stored(), text=text, variables=variables)


def _phone(channel: str, label: str) -> OutboundChannel:
    kind = "sms" if channel == "sms" else "voice"
    names = settings.SMS_PROVIDERS if kind == "sms" else settings.VOICE_PROVIDERS
    providers = ", then ".join(_PROVIDERS[name] for name in names)
    text = f"Sent over {providers}." if names else "No provider is set up."
    return OutboundChannel(
        channel=channel,
        label=label,
        is_set_up=bool(names),
        text=text,
        variables=(
            f"HEARTBEAT_{kind.upper()}_PROVIDERS",
            *("HEARTBEAT_TWILIO_ACCOUNT_SID", "HEARTBEAT_TWILIO_AUTH_TOKEN", "HEARTBEAT_TWILIO_FROM"),
            *(("HEARTBEAT_GATEWAY_URL",) if kind == "sms" else ("HEARTBEAT_TWILIO_VOICE_FROM",)),
        ),
    )


def _push(channel: str, label: str) -> OutboundChannel:
    text = "Sent to browsers over their push services."
    return OutboundChannel(
        channel=channel, label=label, is_set_up=True, text=text, variables=("HEARTBEAT_VAPID_PRIVATE_KEY",)
    )


def _chat(channel: str, label: str) -> OutboundChannel:
    buttons = "work" if settings.SLACK_SIGNING_SECRET else "are left out: no signing secret is set"
    return OutboundChannel(
        channel=channel,
        label=label,
        is_set_up=True,
        text=f"Sent to incoming webhooks. {_networks()} Buttons in Slack {buttons}.",
        variables=("HEARTBEAT_SLACK_SIGNING_SECRET", "HEARTBEAT_OUTGOING_ALLOW"),
    )


def _webhook(channel: str, label: str) -> OutboundChannel:
    text = f"Sent as a signed POST. {_networks()}"
    return OutboundChannel(
        channel=channel, label=label, is_set_up=True, text=text, variables=("HEARTBEAT_OUTGOING_ALLOW",)
    )


def _apprise(channel: str, label: str) -> OutboundChannel:
    services = ", ".join(settings.APPRISE_SERVICES)
    return OutboundChannel(
        channel=channel,
        label=label,
        is_set_up=bool(services),
        text=f"Services that may be used: {services}." if services else "No service may be used.",
        variables=("HEARTBEAT_APPRISE_SERVICES",),
    )


def _networks() -> str:
    """Return whether addresses in private networks may be used."""
    return "Some private networks may be used." if settings.OUTGOING_ALLOW else "Private networks are refused."


_CHANNELS: Final[dict[str, Callable[[str, str], OutboundChannel]]] = {
    "email": _email,
    "sms": _phone,
    "voice": _phone,
    "push": _push,
    "chat": _chat,
    "webhook": _webhook,
    "apprise": _apprise,
}
