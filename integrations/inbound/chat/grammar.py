"""The grammar of what people write in a chat (pure); actions are those of replies by SMS, see parse_reply.

An action needs the number of its alert, unless it stands in the thread of one: any other text opens an alert. A text
that begins with an action and a number, and yet leaves a doubt, does neither.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from escalation.responses.replies.parse_reply import WORDS, ParsedReply, parse_reply

PRIORITIES: Final = ("critical", "high", "medium", "low", "none")
MAX_GROUPS: Final = 5
# Characters in which patterns are looked for whose repeats touch each other.
_SHORT: Final = 200
_OPEN: Final = re.compile(r"^open(?:\s*:\s*|\s+)", re.IGNORECASE)
_WHO: Final = re.compile(r"^who(?:\s+is\s+on\s+call)?\s*\??(?:\s+#?(?P<group>\S.{0,99}))?$", re.IGNORECASE)
_FIRST_WORDS: Final = frozenset(word.split()[0] for word in WORDS)
_NUMBER_BEHIND: Final = re.compile(r"^\S+\s+(?:to\s+me\s+|me\s+)?(?:alert\s+)?#?\d+(?!\S*[^\W\d])", re.IGNORECASE)


class Kind(StrEnum):
    """What somebody asks for."""

    OPEN = "open"
    ACT = "act"
    LIST = "list"
    WHO = "who"
    HELP = "help"
    LINK = "link"
    UNCLEAR = "unclear"


_WORDS: Final = {"": Kind.HELP, "help": Kind.HELP, "list": Kind.LIST, "link": Kind.LINK}


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody asks for; `text` is what an alert opens with, or the group that `who` is about."""

    kind: Kind
    text: str = ""
    reply: ParsedReply | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """The text of a new alert, without the marks in its first line: `!high` and `#group`.

    `groups` are the names as they were written; those that exist are taken out by `without`.
    """

    subject: str
    text: str
    priority: str = ""
    groups: tuple[str, ...] = ()

    def without(self, names: frozenset[str]) -> str:
        """Return the subject without the marks of these groups."""
        words = [word for word in self.subject.split() if not (word[:1] == "#" and plain_name(word[1:]) in names)]
        return " ".join(words) or self.subject


def parse_command(text: str, *, in_thread: bool = False) -> Command:
    """Return what a text asks for; `in_thread`: it stands in the thread of an alert."""
    text = text.strip()
    word = text.lower().rstrip(" .!?")
    if word in _WORDS:
        return Command(_WORDS[word])
    if len(text) <= _SHORT and (match := _WHO.match(text)):
        return Command(Kind.WHO, match["group"] or "")
    if match := _OPEN.match(text):
        return Command(Kind.OPEN, text[match.end() :].strip()) if text[match.end() :].strip() else Command(Kind.HELP)
    reply = parse_reply(text)
    if reply is not None and (reply.number is not None or in_thread or not reply.note):
        return Command(Kind.ACT, reply=reply)
    if reply is not None or _is_doubtful(text[:_SHORT]):
        return Command(Kind.UNCLEAR, text)
    return Command(Kind.OPEN, text)


def _is_doubtful(text: str) -> bool:
    """Return whether a text begins with an action and a number, in either order, and is no reply all the same."""
    first, *more = text.lower().split(maxsplit=2)
    if first in _FIRST_WORDS:
        return _NUMBER_BEHIND.match(text) is not None
    return first[:1] == "#" and first[1:].isdecimal() and bool(more) and more[0].rstrip(":,.?!") in _FIRST_WORDS


def parse_opening(text: str) -> Opening:
    """Return what an alert opens with."""
    first, _, rest = text.strip().partition("\n")
    words: list[str] = []
    groups: list[str] = []
    priority = ""
    for word in first.split():
        if word[:1] == "!" and word[1:].lower() in PRIORITIES:
            priority = priority or word[1:].lower()
            continue
        if word[:1] == "#" and len(word) > 1 and not word[1:].isdigit() and len(groups) < MAX_GROUPS:
            groups.append(word[1:])
        words.append(word)
    return Opening(" ".join(words), rest.strip(), priority, tuple(groups))


def plain_name(name: str) -> str:
    """Return the name of a group as it can be written in one word: in lower case, with hyphens for spaces."""
    return "-".join(name.lower().replace("_", " ").replace("-", " ").split()).rstrip(",.:;")
