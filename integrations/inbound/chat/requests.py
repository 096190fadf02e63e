"""What people write and press in a chat, whatever the platform is (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

MAX_BODY: Final = 262_144  # bytes of a request
MAX_FIELDS: Final = 100  # of a form
MAX_TEXT: Final = 20_000  # characters of a message
MAX_NAME: Final = 100  # characters of ids and names
MAX_URL: Final = 1_000
# Begins each text that we write: a platform that reports all messages of a channel reports ours, too.
OURS: Final = "\N{INVISIBLE SEPARATOR}\N{INVISIBLE SEPARATOR}"


class Origin(StrEnum):
    """How somebody turned to us."""

    COMMAND = "command"
    MENTION = "mention"
    MESSAGE = "message"
    SHORTCUT = "shortcut"
    BUTTON = "button"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One command, message or pressed button.

    `id` is the platform's, and the same if it sends the request again. `member` names the person for the platform,
    `message` the message that was written or clicked, and `thread` the message below which it stands. `answer_at` is
    the address for late answers. A button has an `action`, and the `alert` or the `page_token` that it is about.
    """

    platform: str
    origin: str
    id: str
    text: str = ""
    channel: str = ""
    channel_name: str = ""
    member: str = ""
    member_name: str = ""
    message: str = ""
    thread: str = ""
    answer_at: str = ""
    permalink: str = ""
    action: str = ""
    alert: int | None = None
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The question by which a platform checks an address; the answer is the same text."""

    text: str


def name_in(fields: Mapping[str, Any], key: str, *, limit: int = MAX_NAME) -> str:
    """Return a field that is an id or a name, on one line; "" for anything else than a text."""
    value = fields.get(key)
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in value[: 2 * limit] if letter.isprintable())[:limit].strip()


def text_in(fields: Mapping[str, Any], key: str) -> str:
    """Return a field that is a text of several lines, without what cannot be stored; "" for anything else."""
    value = fields.get(key)
    return storable(value) if isinstance(value, str) else ""


def storable(text: str) -> str:
    """Return a text that PostgreSQL can store, cut to MAX_TEXT."""
    text = text[:MAX_TEXT].replace("\r\n", "\n")
    return "".join(letter for letter in text if letter != "\0" and not "\ud800" <= letter <= "\udfff")


def object_in(fields: Any, key: str) -> Mapping[str, Any]:
    """Return a field that is an object; an empty one for anything else."""
    value = fields.get(key) if isinstance(fields, Mapping) else None
    return value if isinstance(value, Mapping) else {}
