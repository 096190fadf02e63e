"""TwiML: the texts of calls, their menus of keys, and answers to SMS (pure).

Source: Twilio, TwiML for Voice: Say, Gather, Dial, Hangup.
"""

import unicodedata
from collections.abc import Collection
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from alerting.phone_keys import DIGITS
from alerting.states import Action
from escalation.channels.base import ConferenceLine

REPLAY: Final = "1"
CONNECT: Final = "0"
# All keys that a menu may offer.
KEYS: Final = frozenset({REPLAY, CONNECT, *DIGITS})
_SPOKEN: Final = {
    Action.ESCALATE: "to escalate",
    Action.ACKNOWLEDGE: "to acknowledge",
    Action.ASSIGN: "to assign it to you",
    Action.CLOSE: "to close it",
}
_OF_MANY: Final = {Action.ASSIGN: "to assign them all to you"}
_TO_OWNER: Final = {Action.ACKNOWLEDGE: "to say that you are on it"}
# Each w is half a second of waiting, until a conference listens for its code.
_PAUSES: Final = "wwww"
# Control characters that XML 1.0 allows.
_ALLOWED_CONTROLS: Final = frozenset({"\t", "\n", "\r"})


def menu(
    text: str,
    *,
    answer_to: str,
    actions: Collection[Action],
    line: ConferenceLine | None = None,
    before: str = "",
    many: bool = False,
    to_owner: bool = False,
) -> str:
    """Return TwiML that says `before` (the result of the last key) and the text, and asks for a key.

    Twilio posts the key to `answer_to`. Without a key everything is said once more, and then the call ends. `many`: a
    key acts on all alerts of the call. `to_owner`: the person who is called has them.
    """
    spoken_as = _SPOKEN | (_OF_MANY if many else {}) | (_TO_OWNER if to_owner else {})
    options = [f"Press {key} {spoken_as[action]}." for key, action in sorted(DIGITS.items()) if action in actions]
    if line is not None:
        options.append(f"Press {CONNECT} to be connected to the conference.")
    options.append(f"Press {REPLAY} to hear this again.")
    spoken = " ".join(part for part in (before, text, *options) if part)
    gather = (
        f'<Gather input="dtmf" numDigits="1" timeout="8" method="POST" action={quoteattr(_clean(answer_to))}>'
        f'<Pause length="1"/>{_say(spoken)}</Gather>'
    )
    return _document(gather + gather + _say("Goodbye."))


def twice(text: str) -> str:
    """Return TwiML that says the text twice, for a call without a menu."""
    return _document(f'<Pause length="1"/>{_say(text)}<Pause length="1"/>{_say(text)}')


def left_on_a_machine(text: str) -> str:
    """Return TwiML that says the text at once, and again after ten seconds.

    The first time is for a person who was taken for a machine; a machine may still be playing its greeting.
    """
    return _document(f'{_say(text)}<Pause length="10"/>{_say(text)}<Hangup/>')


def farewell(text: str) -> str:
    """Return TwiML that says the text and ends the call."""
    return _document(f"{_say(text)}<Hangup/>")


def connect(line: ConferenceLine) -> str:
    """Return TwiML that connects the call to a conference line."""
    digits = "".join(sign for sign in line.code if sign in "0123456789*#")
    typed = f' sendDigits="{_PAUSES}{digits}"' if digits else ""
    number = "".join(sign for sign in line.number if sign in "+0123456789")
    return _document(
        f"{_say('You are being connected.')}<Dial><Number{typed}>{number}</Number></Dial>"
        f"{_say('The conference could not be reached.')}"
    )


def text_message(text: str) -> str:
    """Return TwiML that answers an SMS; nothing is sent for an empty text."""
    return _document(f"<Message>{escape(_clean(text))}</Message>" if text else "")


def _say(text: str) -> str:
    return f"<Say>{escape(_clean(text))}</Say>"


def _document(inside: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{inside}</Response>'


def _clean(text: str) -> str:
    """Remove what an XML document cannot hold: control characters, lone surrogates, noncharacters."""
    return "".join(
        sign
        for sign in text
        if sign in _ALLOWED_CONTROLS or (unicodedata.category(sign) not in {"Cc", "Cs"} and sign not in "\ufffe\uffff")
    )
