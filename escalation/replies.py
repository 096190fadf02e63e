"""What people answer to a message, as text or keys (pure).

A reply is a digit or word, then if wanted the alert's number, then if wanted a note behind a colon, comma or dash or on
its own line. Whole sentences are nothing that is acted upon: "close to finding it" closes nothing.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from alerting.states import Action

# As on a telephone's keys; the same in every channel.
DIGITS: Final = {"6": Action.ESCALATE, "7": Action.ACKNOWLEDGE, "8": Action.ASSIGN, "9": Action.CLOSE}
WORDS: Final = {
    "escalate": Action.ESCALATE,
    "escalated": Action.ESCALATE,
    "ack": Action.ACKNOWLEDGE,
    "acknowledge": Action.ACKNOWLEDGE,
    "acknowledged": Action.ACKNOWLEDGE,
    "assign": Action.ASSIGN,
    "assigned": Action.ASSIGN,
    "assign me": Action.ASSIGN,
    "assign to me": Action.ASSIGN,
    "take": Action.ASSIGN,
    "mine": Action.ASSIGN,
    "close": Action.CLOSE,
    "closed": Action.CLOSE,
    "resolve": Action.CLOSE,
    "resolved": Action.CLOSE,
    "note": Action.REPLY,
    "reply": Action.REPLY,
}
NOTE_LENGTH: Final = 2_000
_COMMANDS: Final = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(WORDS, key=len, reverse=True))
_REPLY: Final = re.compile(
    rf"\s*[\"'“”(\[]*(?P<command>[6-9]|{_COMMANDS})[\"'“”)\]]*"
    r"(?:\s*#\s*|\s+)?(?:(?<=[\s#])(?:alert\s*#?\s*)?(?P<number>\d{1,18}))?"
    # "9:30" is a time and "7-8" a range.
    r"(?:[^\S\n]*[.!:;,\u2013\u2014-]*\s*|[^\S\n]*(?:[.!:;,\u2013\u2014-]+(?!\d)|\n)\s*(?P<note>.*))",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED: Final = re.compile(r"^(>|-{2,}|_{5,}|On .{0,200}wrote:\s*$|Am .{0,200}schrieb .{0,200}:\s*$|From: |Von: )")


@dataclass(frozen=True, slots=True)
class Reply:
    """What somebody wants done, to which alert (None: the one they were told of), and what they add."""

    action: Action
    number: int | None = None
    note: str = ""


def read_reply(text: str) -> Reply | None:
    """Return what a short text asks for; None when it is nothing that can be acted upon."""
    plain = _plain(text)
    found = _REPLY.fullmatch(plain[: NOTE_LENGTH * 2])
    if found is None:
        return None
    command = " ".join(found["command"].lower().split())
    action = DIGITS.get(command) or WORDS[command]
    note = (found["note"] or "").strip()[:NOTE_LENGTH]
    if action is Action.REPLY and not note:
        return None
    number = int(found["number"]) if found["number"] else None
    return Reply(action, number=number, note=note)


def read_mail(text: str) -> Reply | None:
    """Return what a mail's own first line asks for; what it quotes, and lines below, are not acted upon."""
    for line in text.splitlines():
        if _QUOTED.match(line):
            return None
        if _plain(line).strip():
            return read_reply(line)
    return None


def _plain(text: str) -> str:
    """Return the text with wide digits as plain ones, and without what cannot be seen."""
    composed = unicodedata.normalize("NFKC", text)
    return "".join(sign for sign in composed if sign.isspace() or unicodedata.category(sign) not in {"Cc", "Cf"})
