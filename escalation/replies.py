"""What people answer to a message, as text or keys (pure).

A reply is a digit or one of our words, then if wanted the alert's number, then if wanted a note. Politeness around it
is passed over. A note stands behind a colon, comma or dash, on its own line, or begins as people begin to say what they
do ("8 on my way"). What denies or asks something is not acted upon ("8 servers down, can't take it"), nor is a sentence
that happens to begin with one of our words ("close to finding it"): the sender is asked instead.

The text is cut to a stated length and read from left to right, each part once.
"""

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
    "on it": Action.ACKNOWLEDGE,
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
# In characters: what stands further on is not read.
TEXT_LENGTH: Final = 2 * NOTE_LENGTH
_NUMBER_LENGTH: Final = 18
_LONGEST_FIRST: Final = sorted(((word.split(), word) for word in WORDS), key=lambda found: -len(found[1]))
# Alone, these say no more than that the message was seen.
_SEEN: Final = frozenset({"yes", "yep", "ok", "okay"})
_BEFORE: Final = _SEEN | {"please", "pls", "hi", "hey", "hello", "i", "we"}
_AFTER: Final = frozenset(
    {
        "please",
        "pls",
        "thanks",
        "thank",
        "you",
        "thx",
        "ok",
        "okay",
        "now",
        "it",
        "this",
        "that",
        "one",
        "me",
        "them",
        "all",
    }
)
# How a note begins that no sign sets apart from the command.
_BEGINS_A_NOTE: Final = frozenset(
    {"on", "i", "i'm", "im", "i'll", "ill", "i've", "we", "we're", "will", "looking", "checking", "working", "fixing"}
)
_DENIES: Final = frozenset(
    {"not", "no", "nope", "never", "neither", "nor", "cannot", "cant", "dont", "wont", "didnt", "isnt", "couldnt"}
    | {"unable", "without", "unless", "but", "if", "wait", "wrong"}
)
_APOSTROPHE: Final = "\u2019"
_OPENS: Final = f"\"'“”\u2018{_APOSTROPHE}(["
_CLOSES: Final = f"\"'“”\u2018{_APOSTROPHE})]"
_SETS_APART: Final = ".!:;,-\u2013\u2014"
_ENDS_A_LINE: Final = "\n\r\u2028\u2029"


@dataclass(frozen=True, slots=True)
class Reply:
    """What somebody wants done, to which alert (None: the one they were told of), and what they add."""

    action: Action
    number: int | None = None
    note: str = ""


def read_reply(text: str) -> Reply | None:
    """Return what a short text asks for; None when it is nothing that can be acted upon without doubt."""
    text = _plain(text[:TEXT_LENGTH]).strip()
    rest = text.lstrip(_OPENS)
    number, rest = _number(rest) if rest.startswith("#") else (None, rest)
    found = _command(_without_greeting(rest.lstrip()))
    if found is None:
        seen = _words(text)
        return Reply(Action.ACKNOWLEDGE, number=number) if seen and all(word in _SEEN for word in seen) else None
    action, rest = found
    rest = rest.lstrip(_CLOSES)
    if number is None:
        number, rest = _number(rest)
    note = _note(rest, action=action)
    if note is None or (action is Action.REPLY and not note):
        return None
    return Reply(action, number=number, note=note[:NOTE_LENGTH])


def read_mail(text: str) -> Reply | None:
    """Return what a mail's own first line asks for; what it quotes, and lines below, are not acted upon."""
    for line in text[: 10 * TEXT_LENGTH].splitlines():
        if _is_quoted(line):
            return None
        if _plain(line[:TEXT_LENGTH]).strip():
            return read_reply(line)
    return None


def _command(text: str) -> tuple[Action, str] | None:
    """Return the action that the text begins with, and what follows."""
    if text[:1] in DIGITS:
        follows = text[1:]
        return None if _goes_on(follows) else (DIGITS[text[0]], follows)
    for words, command in _LONGEST_FIRST:
        follows_words = _behind(text, words)
        if follows_words is not None:
            return WORDS[command], follows_words
    return None


def _behind(text: str, words: list[str]) -> str | None:
    """Return what follows these words, if the text begins with them and then with nothing that makes another word."""
    for index, word in enumerate(words):
        if index:
            shorter = text.lstrip()
            if shorter == text:
                return None
            text = shorter
        if text[: len(word)].lower() != word:
            return None
        text = text[len(word) :]
    return None if _goes_on(text) else text


def _goes_on(text: str) -> bool:
    """Answer whether what stands here belongs to the word or number before: "9:30" is a time and "7-8" a range."""
    behind = text.lstrip(_SETS_APART)
    return (
        text[:1].isalnum()
        or (text[:1] in {"_", "'"} and text[1:2].isalnum())
        or (behind != text and behind[:1].isdigit())
    )


def _number(text: str) -> tuple[int | None, str]:
    """Return the alert's number that the text begins with (`#5`, ` 5`, ` alert #5`), and what follows."""
    rest = text.lstrip(" \t")
    if (named := _behind(rest, ["alert"])) is not None:
        rest = named.lstrip(" \t")
    marked = rest.startswith("#")
    rest = rest.removeprefix("#").lstrip(" \t") if marked else rest
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    follows = rest[len(digits) :]
    if not digits or len(digits) > _NUMBER_LENGTH or _goes_on(follows) or not (marked or text[:1].isspace()):
        return None, text
    return int(digits), follows


def _note(text: str, *, action: Action) -> str | None:
    """Return the note behind a command, which may be empty; None where it leaves a doubt of what is wanted."""
    apart = text.lstrip(" \t")[:1] in {*_SETS_APART, *_ENDS_A_LINE}
    note = text.lstrip(f"{_SETS_APART} \t{_ENDS_A_LINE}").rstrip()
    words = _words(note)
    if all(word in _AFTER for word in words) and "?" not in note:
        return note if action is Action.REPLY and apart else ""
    if action is Action.REPLY:
        return note if apart or words[0] in _BEGINS_A_NOTE else None
    if "?" in note or any(word in _DENIES or word.endswith("n't") for word in words):
        return None
    return note if apart or words[0] in _BEGINS_A_NOTE else None


def _without_greeting(text: str) -> str:
    """Return the text without words that people put before a command."""
    while True:
        first = next((word for word in _BEFORE if _behind(text, [word]) is not None), None)
        if first is None:
            return text
        shorter = text[len(first) :].lstrip(f"{_SETS_APART} \t")
        if not shorter:
            return text
        text = shorter


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case, without the signs around them."""
    found = (
        word.strip(f"{_SETS_APART}{_OPENS}{_CLOSES}?*_") for word in text.lower().replace(_APOSTROPHE, "'").split()
    )
    return [word for word in found if word]


def _is_quoted(line: str) -> bool:
    """Answer whether a line of a mail begins what it quotes, or its signature."""
    line = line[:TEXT_LENGTH]
    if line.startswith((">", "--", "_____", "From: ", "Von: ")):
        return True
    ends = line.rstrip()
    return (line.startswith("On ") and ends.endswith("wrote:")) or (line.startswith("Am ") and ends.endswith(":"))


def _plain(text: str) -> str:
    """Return the text with wide digits as plain ones, and without what cannot be seen."""
    composed = unicodedata.normalize("NFKC", text)
    return "".join(sign for sign in composed if sign.isspace() or unicodedata.category(sign) not in {"Cc", "Cf"})
