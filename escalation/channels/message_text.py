"""The texts of a message: a title, a short text for SMS and voice, a long one for chat, push and webhooks."""

from collections.abc import Sequence
from typing import Final

from django.conf import settings

from alerting.phone_keys import DIGITS
from alerting.states import Action
from escalation.channels import speech
from escalation.channels.base import AlertSnapshot, Bundle, Message
from escalation.channels.message_kinds import MessageKind
from heartbeat_project.kernel.wording import clip, moment, one_line, some_of, zone

# The subject of an alert that is a test begins with this.
TEST: Final = "[TEST]"
# All lengths are in letters.
SHORT: Final = 300
# The name of one of many alerts.
NAME: Final = 40
# This much of a short text is kept for names, however long the reason before them is.
NAMES: Final = 120
LONG: Final = 3_000
_REPLIES: Final = {
    Action.ASSIGN: "take",
    Action.ACKNOWLEDGE: "acknowledge",
    Action.ESCALATE: "escalate",
    Action.CLOSE: "close",
}
_Kind = MessageKind
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
    """Return the subject in one line."""
    alert = message.alert
    if message.bundle is not None:
        subject = one_line(message.subject)
        return f"[Recovered] {subject}" if message.kind == _Kind.RECOVERY else urgent(subject, message.bundle)
    if alert is None:
        return one_line(message.subject)
    if message.kind == _Kind.RECOVERY:
        return recovered(alert)
    return tagged(_TAGS.get(message.kind) or alert.status_label, alert)


def tagged(tag: str, alert: AlertSnapshot) -> str:
    """Return an alert's subject after its priority, its number and a tag; a test begins with [TEST]."""
    subject = one_line(alert.subject)
    if alert.is_test:
        return f"{TEST} {lead(alert)} {tag}: {subject.removeprefix(TEST).strip()}"
    return f"{lead(alert)} [{tag}] {subject}"


def recovered(alert: AlertSnapshot) -> str:
    """Return the title of a recovery."""
    return f"[Recovered] #{alert.id} {one_line(alert.known_as)}"


def how_it_ended(alert: AlertSnapshot) -> str:
    """Return what ended the problem of a closed alert, as the beginning of a sentence."""
    return "The signal is back" if is_silence(alert) else f"{one_line(alert.source_name)} says that it is over"


def is_silence(alert: AlertSnapshot) -> bool:
    """Return whether the alert is about a silence: no sender of events may call itself so."""
    return alert.source == "Heartbeat"


def recovered_together(listed: Sequence[AlertSnapshot], count: int) -> str:
    """Return the headline of many recoveries; not all of them need be of heartbeats."""
    what = "heartbeats" if all(map(is_silence, listed)) else "alerts"
    return f"{count} {what} have recovered"


def lead(alert: AlertSnapshot) -> str:
    """Return the beginning of a message about an alert: its priority if Critical or High, and its number."""
    return f"{alert.urgent_label} #{alert.id}".lstrip()


def urgent(text: str, bundle: Bundle) -> str:
    """Return a text about many alerts after the priority of the most important; tests alone begin with [TEST]."""
    mark = f"{TEST} " if bundle.only_tests else ""
    label = bundle.urgent_label
    return f"{mark}{label}{': ' if label else ''}{text.removeprefix(TEST).strip()}"


def link(message: Message) -> str:
    """Return the page on which the reader responds without signing in, or else the page to read on."""
    return message.respond_url or console_link(message)


def console_link(message: Message) -> str:
    """Return the page to read on, which needs a sign-in."""
    if message.bundle is not None:
        return message.bundle.link
    return f"{settings.BASE_URL}/alerts/{message.alert.id}/" if message.alert else f"{settings.BASE_URL}/"


def short(message: Message, *, replies: bool = False) -> str:
    """Return the text of an SMS; the link, and with `replies` how to reply, are never cut."""
    if message.alert is None and message.bundle is None:
        return clip(_gist(message), SHORT)
    end = f" {link(message)}{_how_to_reply(message) if replies else ''}"
    room = SHORT - len(end)
    return clip(_gist(message) if message.bundle is None else _bundled(message, message.bundle, room=room), room) + end


def spoken(message: Message) -> str:
    """Return the text of a call."""
    return clip(speech.speakable(one_line(message.speech) or _gist(message, spoken=True)), SHORT * 2)


def long(message: Message) -> str:
    """Return the whole text in several lines, without the title."""
    alert = message.alert
    if message.bundle is not None:
        more = message.bundle.count - len(message.bundle.listed)
        names = [f"• #{listed_alert.id} {one_line(listed_alert.known_as)}" for listed_alert in message.bundle.listed]
        names = [message.bundle.reason, *names] if message.bundle.reason else names
        return clip("\n".join([*names, f"… and {more} more"] if more else names), LONG)
    if alert is None:
        return clip(message.text.strip(), LONG)
    parts = [message.text.strip(), alert.long_text.strip()]
    if message.kind == _Kind.RECOVERY:
        closed = f" at {moment(alert.closed_at, zone=zone(message.time_zone))}" if alert.closed_at else ""
        parts = [f"{how_it_ended(alert)}; the alert was closed{closed}."]
    elif alert.bridge is not None:
        bridge = (alert.bridge.name, alert.bridge.phone_number, alert.bridge.access_code, alert.bridge.meeting_url)
        parts.append(f"Bridge: {', '.join(one_line(part) for part in bridge if part)}")
    return clip("\n\n".join(part for part in parts if part), LONG)


def _how_to_reply(message: Message) -> str:
    """Return which digit stands for which allowed action; "" if there is none."""
    actions, to_owner = [allowed.action for allowed in message.allowed_actions], message.to_owner
    digits = {action: digit for digit, action in DIGITS.items()}
    if message.bundle is not None:
        together = Action.ACKNOWLEDGE if to_owner else Action.ASSIGN
        condition = "if you are on all" if to_owner else "to take all"
        return f" Reply {digits[together]} {condition} {message.bundle.count}." if together in actions else ""
    replies = _REPLIES | ({Action.ACKNOWLEDGE: "I am on it"} if to_owner else {})
    options = [f"{digits[action]}={replies[action]}" for action in actions if action in digits]
    return f" Reply {', '.join(options)}." if options else ""


def _gist(message: Message, *, spoken: bool = False) -> str:
    """Return the message in a sentence or two; `spoken` is for a voice, which reads no “#”."""
    alert = message.alert
    if message.bundle is not None:
        return _bundled(message, message.bundle, room=SHORT, spoken=spoken)
    if alert is None:
        return one_line(message.text) or one_line(message.subject)
    number = f"Alert {alert.id}." if spoken else f"#{alert.id}:"
    if message.kind == _Kind.RECOVERY:
        return f"Recovered {number} {one_line(alert.known_as)}. {how_it_ended(alert)}, the alert is closed."
    label = alert.urgent_label
    to_do = f" {one_line(message.text.splitlines()[0])}" if message.kind == _Kind.LAST_RESORT else ""
    why = f"{one_line(message.text)} " if message.kind == _Kind.PAGE and message.text else ""
    mark = "TEST." if alert.is_test else ""
    beginning = " ".join(part for part in (mark, f"{label}." if spoken and label else label, number) if part)
    return f"{beginning} {why}{_OPENINGS.get(message.kind, '')}{one_line(alert.short_text)}{to_do}"


def _bundled(message: Message, bundle: Bundle, *, room: int, spoken: bool = False) -> str:
    """Return a message about many alerts with as many of their numbers and names as fit into `room` letters.

    A voice says no numbers: its keys act on all alerts.
    """
    names = [clip(one_line(alert.known_as), NAME) for alert in bundle.listed]
    if not spoken:
        names = [f"#{alert.id} {name}" for alert, name in zip(bundle.listed, names, strict=True)]
    if message.kind == _Kind.RECOVERY:
        beginning = "Recovered"
    else:
        reason = f"{clip(one_line(bundle.reason), max(room - NAMES, 0))} " if bundle.reason else ""
        summary = bundle.summary or f"{bundle.count} alerts"
        beginning = urgent(f"{reason}{summary}", bundle)
    return f"{beginning}: {some_of(names, count=bundle.count, room=room - len(beginning) - 3)}."
