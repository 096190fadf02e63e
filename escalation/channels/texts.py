"""What each channel says: a title, a short text for SMS and voice, a long one for chat, push and webhooks."""

import re
from collections.abc import Collection
from typing import Final

from django.conf import settings

from alerting.models import Alert
from alerting.states import Action
from escalation import links
from escalation.channels.base import Message
from escalation.models import Notification
from escalation.replies import DIGITS
from escalation.selectors import ASKING, TO_OWNER
from escalation.services.offers import offered_in
from escalation.wording import moment, one_line, zone

# What begins the subject of each alert that is a test.
TEST: Final = "[TEST]"
SHORT: Final = 300
LONG: Final = 3_000
_REPLIES: Final = {
    Action.ASSIGN: "take",
    Action.ACKNOWLEDGE: "acknowledge",
    Action.ESCALATE: "escalate",
    Action.CLOSE: "close",
}
_Kind = Notification.Kind
_TAGS: Final = {
    _Kind.LAST_RESORT: "Nobody was reached",
    _Kind.ASSIGNMENT: "Assigned to you",
    _Kind.REMINDER: "Still yours?",
}
_OPENINGS: Final = {
    _Kind.LAST_RESORT: "Nobody was reached: ",
    _Kind.ASSIGNMENT: "Assigned to you: ",
    _Kind.REMINDER: "Still yours? ",
}


def title(message: Message) -> str:
    """Return what it is about, in one line."""
    alert = message.alert
    if alert is None:
        return one_line(message.subject)
    if message.kind == _Kind.RECOVERY:
        return f"[Recovered] {one_line(alert.source_name)}"
    return tagged(_TAGS.get(_Kind(message.kind)) or alert.get_status_display(), alert)


def tagged(tag: str, alert: Alert) -> str:
    """Return an alert's subject behind a tag; that it is a test is said before everything else."""
    subject = one_line(alert.subject)
    return f"{TEST} {tag}: {subject.removeprefix(TEST).strip()}" if alert.is_test else f"[{tag}] {subject}"


def link(message: Message) -> str:
    """Return where to respond without signing in, where that is offered, or else where to read on."""
    if message.kind in ASKING and offered_in(message.id):
        return links.page_url(message.id)
    return console_link(message)


def console_link(message: Message) -> str:
    """Return where to read on after signing in."""
    if message.bundle is not None:
        return message.bundle.link
    return f"{settings.BASE_URL}/alerts/{message.alert.pk}/" if message.alert else f"{settings.BASE_URL}/"


def short(message: Message, *, replies: bool = False) -> str:
    """Return the message as an SMS says it; a link to what it is about is never cut, nor how to reply to it."""
    if message.alert is None and message.bundle is None:
        return clip(_gist(message), SHORT)
    answered = replies and message.kind in ASKING and message.alert is not None
    how = _how_to_reply(offered_in(message.id), to_owner=message.kind in TO_OWNER) if answered else ""
    end = f" {link(message)}{how}"
    return clip(_gist(message), SHORT - len(end)) + end


def spoken(message: Message) -> str:
    """Return the message as a voice says it: no links, and long numbers digit by digit."""
    text = re.sub(r"https?://\S+", "", _gist(message))
    return clip(re.sub(r"\d{5,}", lambda digits: ", ".join(digits[0]), text), SHORT * 2)


def long(message: Message) -> str:
    """Return all that there is to say, in several lines, without the title."""
    alert = message.alert
    if message.bundle is not None:
        more = message.bundle.count - len(message.bundle.listed)
        names = [f"• {one_line(each.source_name)}" for each in message.bundle.listed]
        names = [message.bundle.reason, *names] if message.bundle.reason else names
        return clip("\n".join([*names, f"… and {more} more"] if more else names), LONG)
    if alert is None:
        return clip(message.text.strip(), LONG)
    parts = [message.text.strip(), alert.long_text.strip()]
    if message.kind == _Kind.RECOVERY:
        closed = f" at {moment(alert.closed_at, zone=zone(message.time_zone))}" if alert.closed_at else ""
        parts = [f"The signal is back; the alert was closed{closed}."]
    elif alert.bridge is not None:
        bridge = (alert.bridge.name, alert.bridge.phone_number, alert.bridge.access_code, alert.bridge.meeting_url)
        parts.append(f"Bridge: {', '.join(one_line(part) for part in bridge if part)}")
    return clip("\n\n".join(part for part in parts if part), LONG)


def clip(text: str, length: int) -> str:
    """Return the text in at most so many characters, and show that something is missing."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def _how_to_reply(offered: Collection[Action], *, to_owner: bool) -> str:
    """Return which digit does what, of what is offered; nothing where no digit does anything."""
    digits = {action: digit for digit, action in DIGITS.items()}
    replies = _REPLIES | ({Action.ACKNOWLEDGE: "I am on it"} if to_owner else {})
    named = [f"{digits[action]}={replies[action]}" for action in offered if action in digits]
    return f" Reply {', '.join(named)}." if named else ""


def _gist(message: Message) -> str:
    """Return the message in a sentence or two."""
    alert = message.alert
    if message.bundle is not None:
        reason = message.bundle.reason
        return f"{one_line(reason)} {one_line(message.subject)}." if reason else f"{one_line(message.subject)}."
    if alert is None:
        return one_line(message.text) or one_line(message.subject)
    if message.kind == _Kind.RECOVERY:
        return f"Recovered: {one_line(alert.source_name)}. The signal is back, the alert is closed."
    to_do = f" {one_line(message.text.splitlines()[0])}" if message.kind == _Kind.LAST_RESORT else ""
    why = f"{one_line(message.text)} " if message.kind == _Kind.PAGE and message.text else ""
    opening = f"{why}{_OPENINGS.get(_Kind(message.kind), '')}"
    mark = "TEST. " if alert.is_test and opening else ""
    return f"{mark}{opening}{one_line(alert.short_text)}{to_do}"
