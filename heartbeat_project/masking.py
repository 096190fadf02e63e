"""Masks secrets and control characters in texts for logs; needs only the standard library."""

import re
from typing import Final

# The part of a path after one of these is a secret: of a ping, a link, a call, a calendar, or an inbound integration.
_BEFORE_SECRETS: Final = ("heartbeat", "r", "voice", "calendar", "postalert", "chat")
_API_KEY: Final = re.compile(r"\bhb_[A-Za-z0-9_-]{8,}")
# A path within a text ends at a space, quote, bracket, question mark or hash. Slashes may be doubled or encoded.
_PATH: Final = re.compile(rf"(?i)(?:(?<=[/\\])|(?<=%2f))({'|'.join(_BEFORE_SECRETS)})((?:/|\\|%2f)+)([^\s\"'<>?#]+)")
_FRAME: Final = re.compile(r"^ *File \"")
# The parts of our own paths are words. In an unknown path, a longer part that is not a word may be a secret.
_LONGEST_WORD: Final = 15  # characters
_WORDS: Final = re.compile(r"[a-z_.-]*")
HIDDEN: Final = "***"


def masked(text: str) -> str:
    """Return `text` with all tokens and API keys replaced by `***`; names of source files in tracebacks stay."""
    if "/" in text or "\\" in text:
        lines = text.split("\n")
        text = "\n".join(line if _FRAME.match(line) else _PATH.sub(_without_secrets, line) for line in lines)
    return _API_KEY.sub(HIDDEN, text)


def masked_path(path: str, *, is_known: bool = True) -> str:
    """Return a request's path without its secrets, which are recognized by their position.

    If no URL pattern matches (`is_known` False), every part that is not a word is hidden: it may be a secret in a
    misspelt URL.
    """
    parts, is_secret = [], False
    for part in path.split("/"):
        is_suspect = not is_known and len(part) > _LONGEST_WORD and not _WORDS.fullmatch(part)
        is_hidden = bool(part) and (is_suspect or (is_secret and not part.isdigit()))
        parts.append(HIDDEN if is_hidden else part)
        is_secret = is_secret or part.lower() in _BEFORE_SECRETS
    return _API_KEY.sub(HIDDEN, "/".join(parts))


def escaped(text: str) -> str:
    """Return `text` with control characters and invisible ones escaped; tabs become spaces."""
    if text.isprintable():
        return text
    characters = (
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text.expandtabs(4)
    )
    return "".join(characters)


def _without_secrets(match: re.Match[str]) -> str:
    word, slashes, path = match.groups()
    # A word is not a secret but, for example, a file of an installation in a folder `heartbeat/`.
    parts = (part if part.isdigit() or _WORDS.fullmatch(part) else HIDDEN for part in re.split(r"(?i)/|\\|%2f", path))
    return f"{word}{slashes}{'/'.join(parts)}"
