"""The channels over which people act on alerts (pure)."""

from dataclasses import dataclass
from typing import Final

from accounts.contact_kinds import CONTACT_KINDS


@dataclass(frozen=True, slots=True)
class Via:
    """The channel as a code, and for people as the end of a sentence: “by the link in an e-mail”."""

    channel: str = ""
    how: str = ""


UNSAID: Final = Via()
CONSOLE: Final = Via("console", "on its page")
API: Final = Via("api", "by API")
SMS: Final = Via("sms", "by SMS")
VOICE: Final = Via("voice", "by phone")
CHAT: Final = Via("chat", "in Slack")
EMAIL: Final = Via("email", "by e-mail")


def by_link(channel: str, *, signed_in: str = "") -> Via:
    """Return the Via of a person who used the link in a message over this channel (a ContactMethod.kind).

    `signed_in` is the name of another user who was signed in in that browser.
    """
    how = f"by the link in {CONTACT_KINDS[channel].message_noun}"
    if signed_in:
        how += f", while {signed_in} was signed in"
    return Via("link", how)
