"""What a call says and asks for: TwiML with a menu of keys (pure).

Source: Twilio, TwiML for Voice: Say, Gather, Dial, Hangup.
"""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from alerting.states import Action
from escalation.replies import DIGITS

REPLAY: Final = "1"
CONNECT: Final = "0"
_SPOKEN: Final = {
    Action.ESCALATE: "to escalate",
    Action.ACKNOWLEDGE: "to acknowledge",
    Action.ASSIGN: "to assign it to you",
    Action.CLOSE: "to close it",
}
_OF_MANY: Final = {Action.ASSIGN: "to assign them all to you"}
_TO_OWNER: Final = {Action.ACKNOWLEDGE: "to say that you are on it"}
# Half a second each: so long a conference needs before it listens for its code.
_PAUSES: Final = "wwww"
# What XML 1.0 can carry.
_CARRIED: Final = frozenset({"\t", "\n", "\r"})


@dataclass(frozen=True, slots=True)
class Line:
    """A conference line to be connected to: the number, and the code that is typed once it answers."""

    number: str
    code: str = ""


def menu(
    text: str,
    *,
    answer_to: str,
    offered: Collection[Action],
    line: Line | None = None,
    said: str = "",
    many: bool = False,
    to_owner: bool = False,
) -> str:
    """Return TwiML that says what came of the last key, then the text, and asks for a key.

    `answer_to` is where Twilio posts the key. Without a key it is said once more, and then the call ends. `many` says
    that a key acts on all alerts of the call, `to_owner` that whoever is called has them.
    """
    spoken_as = _SPOKEN | (_OF_MANY if many else {}) | (_TO_OWNER if to_owner else {})
    options = [f"Press {key} {spoken_as[action]}." for key, action in sorted(DIGITS.items()) if action in offered]
    if line is not None:
        options.append(f"Press {CONNECT} to be connected to the conference.")
    options.append(f"Press {REPLAY} to hear this again.")
    spoken = " ".join(part for part in (said, text, *options) if part)
    gather = (
        f'<Gather input="dtmf" numDigits="1" timeout="8" method="POST" action={quoteattr(_clean(answer_to))}>'
        f'<Pause length="1"/>{_say(spoken)}</Gather>'
    )
    return _document(gather + gather + _say("Goodbye."))


def farewell(said: str) -> str:
    """Return TwiML that says this and ends the call."""
    return _document(f"{_say(said)}<Hangup/>")


def connect(line: Line) -> str:
    """Return TwiML that connects the call to a conference line."""
    digits = "".join(sign for sign in line.code if sign in "0123456789*#")
    typed = f' sendDigits="{_PAUSES}{digits}"' if digits else ""
    number = "".join(sign for sign in line.number if sign in "+0123456789")
    return _document(
        f"{_say('You are being connected.')}<Dial><Number{typed}>{number}</Number></Dial>"
        f"{_say('The conference could not be reached.')}"
    )


def text_message(said: str) -> str:
    """Return TwiML that answers an SMS; nothing is sent for an empty text."""
    return _document(f"<Message>{escape(_clean(said))}</Message>" if said else "")


def _say(text: str) -> str:
    return f"<Say>{escape(_clean(text))}</Say>"


def _document(inside: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{inside}</Response>'


def _clean(text: str) -> str:
    """Leave out what an XML document cannot carry: control characters, lone surrogates, noncharacters."""
    return "".join(
        sign
        for sign in text
        if sign in _CARRIED or (unicodedata.category(sign) not in {"Cc", "Cs"} and sign not in "\ufffe\uffff")
    )
