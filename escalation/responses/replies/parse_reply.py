"""Parse replies to messages (pure).

A reply is a digit or a command word, then optionally the number of the alert, then optionally a note. Polite words
around the command are ignored. A note is separated by a colon, comma or dash, or by a line break, or begins as people
begin to say what they do ("8 on my way"). A reply that denies or asks something is not carried out ("8 servers down,
can't take it"), and neither is a sentence that happens to begin with a command word ("close to finding it"). The sender
gets a question instead, since a wrong guess could silence an alert.

The text is cut to a fixed length and read from left to right, each part once.
"""

import unicodedata
from dataclasses import dataclass
from typing import Final

from alerting.phone_keys import DIGITS
from alerting.states import Action

WORDS: Final = {
    "escalate": Action.ESCALATE,
    "escalated": Action.ESCALATE,
    "ack": Action.ACKNOWLEDGE,
    "acknowledge": Action.ACKNOWLEDGE,
    "acknowledged": Action.ACKNOWLEDGE,
    "on it": Action.ACKNOWLEDGE,
    # The label in messages to owners; an “I” before it is ignored as a polite word.
    "am on it": Action.ACKNOWLEDGE,
    "i'm on it": Action.ACKNOWLEDGE,
    "i\u2019m on it": Action.ACKNOWLEDGE,
    "im on it": Action.ACKNOWLEDGE,
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
NOTE_LENGTH: Final = 2_000  # characters of a note that are kept
TEXT_LENGTH: Final = 2 * NOTE_LENGTH  # characters of a reply that are read
_NUMBER_LENGTH: Final = 18  # digits of an alert's number, which fits into a bigint
_LONGEST_FIRST: Final = sorted(((word.split(), word) for word in WORDS), key=lambda entry: -len(entry[1]))
# Without a command these acknowledge: they say that the message was seen.
_SEEN: Final = frozenset({"yes", "yep", "ok", "okay"})
# Polite words that are ignored before and after a command.
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
# First words of a note that may follow the command without punctuation.
_BEGINS_A_NOTE: Final = frozenset(
    {"on", "i", "i'm", "im", "i'll", "ill", "i've", "we", "we're", "will", "looking", "checking", "working", "fixing"}
)
# Words that make it doubtful whether the command is meant.
_DENIES: Final = frozenset(
    {"not", "no", "nope", "never", "neither", "nor", "cannot", "cant", "dont", "wont", "didnt", "isnt", "couldnt"}
    | {"unable", "without", "unless", "but", "if", "wait", "wrong"}
    | {"asleep", "busy", "holiday", "sick", "vacation"}
)
_APOSTROPHE: Final = "\u2019"
_OPENS: Final = f"\"'“”\u2018{_APOSTROPHE}(["
_CLOSES: Final = f"\"'“”\u2018{_APOSTROPHE})]"
_SETS_APART: Final = ".!:;,-\u2013\u2014"
_ENDS_A_LINE: Final = "\n\r\u2028\u2029"


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """The action that a reply asks for, the number of its alert (None: the last one notified), and a note."""

    action: Action
    number: int | None = None
    note: str = ""


def parse_reply(text: str) -> ParsedReply | None:
    """Parse a short text; return None if it is in doubt what the sender wants."""
    text = _plain(text[:TEXT_LENGTH]).strip()
    remaining = text.lstrip(_OPENS)
    number: int | None = None
    if remaining.startswith("#"):
        number, remaining = _number(remaining)
    separators = f" \t{_ENDS_A_LINE}"
    if number is not None:
        separators += _SETS_APART
    command = _command(_without_greeting(remaining.lstrip(separators)))
    if command is None:
        words = _words(text) if "?" not in text else []
        has_seen = bool(words) and all(word in _SEEN for word in words)
        return ParsedReply(Action.ACKNOWLEDGE, number=number) if has_seen else None
    action, remaining = command
    remaining = remaining.lstrip(_CLOSES)
    if number is None:
        number, remaining = _number(remaining)
    note = _note(remaining, action=action)
    if note is None or (action is Action.REPLY and not note):
        return None
    return ParsedReply(action, number=number, note=note[:NOTE_LENGTH])


def parse_mail(text: str) -> ParsedReply | None:
    """Parse the first line of a mail; return None if it is quoted. Later lines are ignored."""
    for line in text[: 10 * TEXT_LENGTH].splitlines():
        if _is_quoted(line):
            return None
        if _plain(line[:TEXT_LENGTH]).strip():
            return parse_reply(line)
    return None


def _command(text: str) -> tuple[Action, str] | None:
    """Return the action that the text begins with, and the text after it; None if it begins with none."""
    if text[:1] in DIGITS:
        follows = text[1:]
        return None if _continues(follows) else (DIGITS[text[0]], follows)
    for words, command in _LONGEST_FIRST:
        follows_words = _after_words(text, words)
        if follows_words is not None:
            return WORDS[command], follows_words
    return None


def _after_words(text: str, words: list[str]) -> str | None:
    """Return the text after these words if it begins with them, and they end there; otherwise None."""
    for index, word in enumerate(words):
        if index:
            shorter = text.lstrip()
            if shorter == text:
                return None
            text = shorter
        if text[: len(word)].lower() != word:
            return None
        text = text[len(word) :]
    return None if _continues(text) else text


def _continues(text: str) -> bool:
    """Return whether a text continues the word or number before it: "9:30" is a time and "7-8" a range."""
    behind = text.lstrip(_SETS_APART)
    return (
        text[:1].isalnum()
        or (text[:1] in {"_", "'", _APOSTROPHE} and text[1:2].isalnum())
        or (behind != text and behind[:1].isdigit())
    )


def _number(text: str) -> tuple[int | None, str]:
    """Return the alert's number that the text begins with (`#5`, ` 5`, ` alert #5`), if any, and the text after it."""
    remaining = text.lstrip(" \t")
    if (after_word := _after_words(remaining, ["alert"])) is not None:
        remaining = after_word.lstrip(" \t")
    marked = remaining.startswith("#")
    if marked:
        remaining = remaining.removeprefix("#").lstrip(" \t")
    digits = remaining[: len(remaining) - len(remaining.lstrip("0123456789"))]
    follows = remaining[len(digits) :]
    if not digits or len(digits) > _NUMBER_LENGTH or _continues(follows) or not (marked or text[:1].isspace()):
        return None, text
    return int(digits), follows


def _note(text: str, *, action: Action) -> str | None:
    """Return the note after a command, which may be empty; None if the text puts the command in doubt."""
    apart = text.lstrip(" \t")[:1] in {*_SETS_APART, *_ENDS_A_LINE}
    note = text.lstrip(f"{_SETS_APART} \t{_ENDS_A_LINE}").rstrip()
    words = _words(note)
    if all(word in _AFTER for word in words) and "?" not in note:
        return note if action is Action.REPLY and apart else ""
    if action is Action.REPLY:
        return note if apart or words[0] in _BEGINS_A_NOTE else None
    if "?" in note or any(word in _DENIES or word.endswith("n't") for word in words):
        return None
    # "Close looking at it" is a doubt: somebody who still works on it would not close it, unless punctuation says so.
    begins = words[0] in _BEGINS_A_NOTE and action is not Action.CLOSE
    return note if apart or begins else None


def _without_greeting(text: str) -> str:
    """Return the text without the polite words before a command."""
    while True:
        first = next((word for word in _BEFORE if _after_words(text, [word]) is not None), None)
        if first is None:
            return text
        shorter = text[len(first) :].lstrip(f"{_SETS_APART} \t")
        if not shorter:
            return text
        text = shorter


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation around them."""
    words = (
        word.strip(f"{_SETS_APART}{_OPENS}{_CLOSES}?*_") for word in text.lower().replace(_APOSTROPHE, "'").split()
    )
    return [word for word in words if word]


def _is_quoted(line: str) -> bool:
    """Return whether a line of a mail begins the quoted part or the signature."""
    line = line[:TEXT_LENGTH]
    if line.startswith((">", "--", "_____", "From: ", "Von: ")):
        return True
    ends = line.rstrip()
    return (line.startswith("On ") and ends.endswith("wrote:")) or (line.startswith("Am ") and ends.endswith(":"))


def _plain(text: str) -> str:
    """Return the text with full-width characters as plain ones, and without invisible characters."""
    # One character may become eighteen, so the text is cut again. Lone surrogates (Cs) can be neither stored nor sent.
    composed = unicodedata.normalize("NFKC", text)[:TEXT_LENGTH]
    unseen = {"Cc", "Cf", "Cs"}
    return "".join(char for char in composed if char.isspace() or unicodedata.category(char) not in unseen)
