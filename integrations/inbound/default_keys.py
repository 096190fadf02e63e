"""What an event says if nobody configured anything: a fixed list of keys for any JSON.

The keys of objects are searched level by level, known wrappers first, so the same value always gives the same result.
All searches together take time in proportion to the keys, of which the first MAX_KEYS count.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from integrations.inbound.event import Action


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MAX_KEYS: Final = 10_000
MAX_DEPTH: Final = 3
MAX_TEXT: Final = 20_000
MAX_LINES: Final = 60
_MAX_LINE: Final = 500  # letters of a line of the long text
_MAX_NAME: Final = 60  # letters of a key that can be one of ours
_MAX_STATE: Final = 60  # letters of a status word, and of a mark in front of a subject
_MAX_NESTING: Final = 64

WRAPPERS: Final = _words("alert event data payload incident issue monitor check notification detail")
STATUS_KEYS: Final = _words(
    "sourcestatus status state currentstate newstate newstatevalue eventstatus alertstatus monitorcondition"
    " alerttransition eventaction notificationtype alerttype eventtype action result conclusion"
)
FLAG_KEYS: Final = _words("firing alerting active")
SEVERITY_KEYS: Final = _words("severity level")
SEVERITY_CLOSES: Final = frozenset(_words("ok clear cleared normal"))
# Not `id`, `eventid` or `uuid`: most senders give each message another one.
SOURCE_ID_KEYS: Final = _words(
    "sourceid dedupkey dedup deduplicationkey alias fingerprint incidentkey alertkey alertuid groupkey incidentid"
    " issueid problemid alertid monitorid checkid triggerid ruleid sensorid"
)
PLACE_KEYS: Final = _words("service check name")
# What an event without a subject is about, if it has no more than that.
LONE_PLACE_KEYS: Final = _words("host hostname server node instance device resource service check")
SUBJECT_KEYS: Final = _words("subject title summary alertname name headline message msg text description reason")
PRIORITY_KEYS: Final = _words("severity priority level urgency importance")
URL_KEYS: Final = _words("sourceurl url link htmlurl externalurl generatorurl incidenturl issueurl")
TEXT_KEYS: Final = _words("description message text body details")
SECRETS: Final = _words("password token secret authorization apikey")

CLOSE_WORDS: Final = (
    *_words("resolved resolve ok up closed close recovered recovery cleared clear normal success succeeded passed"),
    *_words("fixed healthy green inactive deactivated"),
    "back to normal",
)
ACKNOWLEDGE_WORDS: Final = _words("acknowledged acknowledge ack acknowledgement accepted")
IGNORE_WORDS: Final = _words("test ping")
DEFAULT_WORDS: Final[Mapping[str, Sequence[str]]] = {
    Action.CLOSE: CLOSE_WORDS,
    Action.ACKNOWLEDGE: ACKNOWLEDGE_WORDS,
    Action.IGNORE: IGNORE_WORDS,
}
# Words in front of a subject that say the state, not what it is about.
STATE_WORDS: Final = frozenset(
    {
        *CLOSE_WORDS,
        *ACKNOWLEDGE_WORDS,
        *_words("firing alerting alert alarm problem down critical crit warning warn error failed failure triggered"),
        *_words("open opened new pending unknown unreachable re-triggered insufficient_data"),
        "no data",
    }
)
PRIORITY_BY_WORD: Final[Mapping[str, str]] = {
    **dict.fromkeys(_words("critical fatal disaster emergency page p1 sev0 sev1"), "critical"),
    **dict.fromkeys(_words("high error major p2 sev2"), "high"),
    **dict.fromkeys(_words("warning warn medium average minor moderate p3 sev3"), "medium"),
    **dict.fromkeys(_words("low info information notice debug p4 p5 sev4"), "low"),
}
PRIORITIES: Final = _words("critical high medium low none")

_KNOWN: Final = frozenset(
    {*STATUS_KEYS, *FLAG_KEYS, *SEVERITY_KEYS, *SOURCE_ID_KEYS, "host", *PLACE_KEYS, *SUBJECT_KEYS, *PRIORITY_KEYS}
    | {*LONE_PLACE_KEYS, *URL_KEYS, *TEXT_KEYS}
)
_STATE_KEYS: Final = frozenset({*STATUS_KEYS, *FLAG_KEYS, *PRIORITY_KEYS})
_IGNORED_IN_KEYS: Final = str.maketrans("", "", "_-. ")
_CONTROLS: Final = dict.fromkeys([*range(32), *range(127, 160), 0x2028, 0x2029], " ")
_LONGEST_KEPT: Final = 64
_DASHES: Final = ":-|\N{EN DASH}\N{EM DASH}"
_SEPARATORS: Final = (":", " - ", " | ", " \N{EN DASH} ", " \N{EM DASH} ")
_CLOSING: Final = {"[": "]", "(": ")", "<": ">"}


def plain_key(key: str) -> str:
    """Return a key as keys are compared: in lower case, without `_ - .` and spaces."""
    # Long ones are not kept: a sender could fill the memory with them.
    return _plain_key(key) if len(key) <= _LONGEST_KEPT else key.translate(_IGNORED_IN_KEYS).lower()


@lru_cache(maxsize=4_096)
def _plain_key(key: str) -> str:
    return key.translate(_IGNORED_IN_KEYS).lower()


def plain_word(text: str) -> str:
    """Return a status word as words are compared: without case and needless space; "" if it is too long."""
    return " ".join(text.split()).casefold() if len(text) <= _MAX_STATE else ""


def text_of(value: Any) -> str:
    """Return a string, a number or true and false as text, also if it is alone in a list; "" for anything else."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value[:MAX_TEXT].strip()
    if isinstance(value, bool):
        return str(value).lower()
    # Python refuses to write out integers of thousands of digits.
    if isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 1_000):
        return str(value)
    return ""


def clean_text(text: str, limit: int) -> str:
    """Return a text that PostgreSQL can store, cut off at `limit` letters."""
    return text[:limit].replace("\0", "�").encode("utf-8", "replace").decode("utf-8")


def clean_line(text: str, limit: int) -> str:
    """Return a text on one line, without control characters, cut off at `limit` letters."""
    line = text[: 2 * limit].translate(_CONTROLS)
    return clean_text(" ".join(line.split()), limit)


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


class KeyIndex:
    """The values of the known keys of a JSON value, in the order in which they count."""

    def __init__(self, value: Any) -> None:
        self._entries: dict[str, list[tuple[int, str, Any]]] = {}
        self._budget = MAX_KEYS
        node = _node(value)
        level = [] if node is None else [node]
        position = 0
        for _ in range(MAX_DEPTH + 1):
            below: list[Mapping[str, Any]] = []
            for each in level:
                below += self._read(each, position)
                position += 1
            level = below

    def _read(self, node: Mapping[str, Any], position: int) -> list[Mapping[str, Any]]:
        """Store the known keys of an object and return the objects in it, wrappers first."""
        children: list[tuple[int, int, str, Mapping[str, Any]]] = []
        for key, value in islice(node.items(), self._budget):
            self._budget -= 1
            name = plain_key(key[:_MAX_NAME])
            if name in _KNOWN:
                self._entries.setdefault(name, []).append((position, key, value))
            child = _node(value)
            if child is not None and not is_secret(key):
                rank = WRAPPERS.index(name) if name in WRAPPERS else len(WRAPPERS)
                children.append((rank, len(key), key, child))
        # By length and letters, as `jsonb` stores keys: the order of the sender does not count.
        children.sort(key=lambda child: child[:3])
        return [child[3] for child in children]

    def values(self, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """Yield the keys that are there with their values: the upper levels first, in one object in this order."""
        entries = [
            (position, rank, key, name, value)
            for rank, name in enumerate(keys)
            for position, key, value in self._entries.get(name, ())
        ]
        entries.sort(key=lambda entry: entry[:3])
        return ((name, value) for _, _, _, name, value in entries)

    def place(self) -> str:
        """Return the host with the service, check and name that stand beside it; "" unless there are two of them."""
        for position, _, host in sorted(self._entries.get("host", ()), key=lambda entry: entry[:2]):
            parts = [_name_of(host)]
            for name in PLACE_KEYS:
                beside = [value for at, _, value in self._entries.get(name, ()) if at == position]
                parts += [_name_of(value) for value in beside]
            if parts[0] and any(parts[1:]):
                return " - ".join(part for part in parts if part)
        return ""


@dataclass(frozen=True, slots=True)
class DefaultReading:
    """Reads the fields of an event by the default keys.

    `own` is the element that the event is about, `outer` what stands around it, asked in this order. If `is_element`,
    only `own` says what the event is about: two elements of one event are two alerts.
    """

    own: KeyIndex
    outer: Sequence[KeyIndex] = ()
    is_element: bool = False

    def _values(self, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        for index in (self.own, *self.outer):
            yield from index.values(keys)

    def status(self) -> str:
        """Return the status in the words of the sender; "" if the event has none.

        A word that says "test" counts only if no other key says more: a check of the type "ping" may have failed.
        """
        words = list(filter(None, (text_of(value) for _, value in self._values(STATUS_KEYS))))
        return next((word for word in words if plain_word(word) not in IGNORE_WORDS), next(iter(words), ""))

    def action_without_status(self) -> Action:
        """Return what an event without a status asks for: its flags decide, or a severity that says it is over."""
        for _, value in self._values(FLAG_KEYS):
            if (flag := text_of(value).lower()) in {"true", "false"}:
                return Action.OPEN if flag == "true" else Action.CLOSE
        severities = (plain_word(text_of(value)) for _, value in self._values(SEVERITY_KEYS))
        return Action.CLOSE if any(severity in SEVERITY_CLOSES for severity in severities) else Action.OPEN

    def source_id(self) -> str:
        """Return what the event is about as an id: one that the sender gave, or its place; "" for none."""
        for index in (self.own,) if self.is_element else (self.own, *self.outer):
            for _, value in index.values(SOURCE_ID_KEYS):
                if text := text_of(value):
                    return text
            if place := index.place():
                return place
        return ""

    def lone_place(self) -> str:
        """Return the host, service or check that an event without a subject names; "" if it names none."""
        indexes = (self.own,) if self.is_element else (self.own, *self.outer)
        places = (_name_of(value) for index in indexes for _, value in index.values(LONE_PLACE_KEYS))
        return next(filter(None, places), "")

    def own_subject(self) -> str:
        """Return the subject of the element itself; "" if it has none."""
        return _subject_in(self.own)

    def outer_subject(self) -> str:
        """Return the subject of what stands around the element; "" if it has none."""
        return next(filter(None, (_subject_in(index) for index in self.outer)), "")

    def priority(self) -> str:
        """Return the priority, "" for that of the policy."""
        return next(filter(None, (priority_of(text_of(value)) for _, value in self._values(PRIORITY_KEYS))), "")

    def url(self) -> str:
        """Return the first address that leads to a web page; "" for none."""
        return next(filter(None, (url_of(text_of(value)) for _, value in self._values(URL_KEYS))), "")

    def text(self) -> str:
        """Return the first description of the element; "" if it has none."""
        texts = (value for _, value in self.own.values(TEXT_KEYS) if isinstance(value, str))
        return next((text[:MAX_TEXT].strip() for text in texts if text.strip()), "")


class StatusWords:
    """What the words of a status mean: for each action the first layer that lists words for it."""

    def __init__(self, *layers: Mapping[str, Sequence[str]], otherwise: Action = Action.OPEN) -> None:
        self._actions: dict[str, Action] = {}
        self._otherwise = otherwise
        done: set[str] = set()
        for layer in (*layers, DEFAULT_WORDS):
            for action in Action:
                if action in layer and action not in done:
                    done.add(action)
                    for word in layer[action]:
                        self._actions.setdefault(plain_word(word), action)

    def action(self, word: str) -> Action:
        """Return what a word asks for. An unknown word opens, unless the preset says otherwise."""
        return self._actions.get(plain_word(word), self._otherwise)

    def knows(self, word: str) -> bool:
        """Return whether a word says what state something is in."""
        plain = plain_word(word)
        return bool(plain) and (plain in self._actions or plain in STATE_WORDS)


def without_state(value: Any, words: StatusWords, *, depth: int = 2 * MAX_DEPTH) -> Any:
    """Return a JSON value without the keys whose values say a state or a priority.

    A key of a state may also hold what an event is about, such as an action; it stays then.
    """
    if depth < 0:
        return value
    if isinstance(value, Mapping):
        return {
            key: without_state(inner, words, depth=depth - 1)
            for key, inner in value.items()
            if not _says_state(key, inner, words)
        }
    if isinstance(value, list):
        return [without_state(inner, words, depth=depth - 1) for inner in value]
    return value


def _says_state(key: str, value: Any, words: StatusWords) -> bool:
    text = text_of(value)
    if plain_key(key[:_MAX_NAME]) not in _STATE_KEYS or not text:
        return False
    return isinstance(value, bool) or words.knows(text) or bool(priority_of(text))


def auto_id(subject: str) -> str:
    """Return the id of an event that has only a subject."""
    return f"auto:{digest_of(subject)[:16]}"


def priority_of(text: str) -> str:
    """Return the priority that a word means; "" if it means none."""
    return PRIORITY_BY_WORD.get(plain_key(text), "") if len(text) <= _MAX_STATE else ""


def url_of(text: str, *, limit: int = 2_000) -> str:
    """Return an http or https address; "" for anything else, or if it is longer than `limit`."""
    is_web = text[:8].lower().startswith(("http://", "https://"))
    return text if is_web and len(text) <= limit and text.isprintable() and " " not in text else ""


def is_secret(key: str) -> bool:
    """Return whether a key names something that nobody should read in an alert."""
    name = plain_key(key[:200])
    return any(secret in name for secret in SECRETS)


def clean_subject(text: str) -> str:
    """Return the first line of a text without the emoji and state words in front, such as "[FIRING:1]" or "OK:"."""
    lines = (clean_line(line, MAX_TEXT) for line in text[:MAX_TEXT].splitlines())
    line = next(filter(None, lines), "")
    subject = _without_symbols(line)
    for _ in range(5):
        shorter = _without_state(subject)
        if shorter == subject:
            break
        subject = shorter
    return subject or line


def long_text_of(value: Any, *, lead: str = "") -> str:
    """Return the lead and then each scalar of a JSON value as "key: value", at most MAX_LINES lines.

    Values under a key that names a secret are masked.
    """
    if isinstance(value, str):
        return value[:MAX_TEXT]
    lines = lead.splitlines()[:MAX_LINES]
    for path, text in islice(_scalars(value), MAX_LINES + 1):
        if text != lead:
            lines.append(clean_line(f"{path}: {text}" if path else text, _MAX_LINE))
    return "\n".join(lines[:MAX_LINES])[:MAX_TEXT]


def _scalars(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the path and text of each scalar in the order of the document."""
    budget = MAX_KEYS
    stack: list[tuple[str, Any, bool]] = [("", value, False)]
    while stack and budget:
        budget -= 1
        path, item, masked = stack.pop()
        if isinstance(item, Mapping | list) and path.count(".") >= _MAX_NESTING:
            continue
        below: list[tuple[str, Any, bool]] = []
        if isinstance(item, Mapping):
            prefix = f"{path}." if path else ""
            items = islice(item.items(), budget)
            below = [(f"{prefix}{key[:_MAX_LINE]}", child, masked or is_secret(key)) for key, child in items]
        elif isinstance(item, list):
            below = [(f"{path}[{at}]", child, masked) for at, child in enumerate(item[: 2 * MAX_LINES])]
        elif text := text_of(item):
            yield path, "***" if masked else text
        stack += reversed(below)


def _node(value: Any) -> Mapping[str, Any] | None:
    """Return an object, also if it is alone in a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, Mapping) else None


def _name_of(value: Any) -> str:
    """Return a scalar as text, or the name of an object."""
    return text_of(value.get("name")) if isinstance(value, Mapping) else text_of(value)


def _subject_in(index: KeyIndex) -> str:
    for _, value in index.values(SUBJECT_KEYS):
        text = value
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value[:MAX_LINES]):
            text = ", ".join(value[:MAX_LINES])
        if isinstance(text, str) and (subject := clean_subject(text)):
            return subject
    return ""


def _without_symbols(text: str, *, or_separators: bool = False) -> str:
    """Return a text without the emoji, symbols and spaces in front."""
    at = 0
    while at < len(text) and _is_symbol(text[at], or_separator=or_separators):
        at += 1
    return text[at:]


def _is_symbol(letter: str, *, or_separator: bool = False) -> bool:
    if letter.isspace() or unicodedata.category(letter) in {"So", "Sk", "Mn", "Cf", "Co"}:
        return True
    return or_separator and letter in _DASHES


def _without_state(text: str) -> str:
    """Return a text without one state word in front: in brackets, before a colon or dash, or in capitals."""
    closing = _CLOSING.get(text[:1], "")
    if closing:
        mark, found, rest = text[1 : _MAX_STATE + 2].partition(closing)
        word = mark.partition(":")[0]
        if found and plain_word(word) in STATE_WORDS:
            return _without_symbols(rest + text[_MAX_STATE + 2 :], or_separators=True)
        return text
    head = text[:_MAX_STATE]
    for separator in _SEPARATORS:
        word, found, rest = head.partition(separator)
        if found and plain_word(word) in STATE_WORDS:
            return _without_symbols(rest + text[_MAX_STATE:], or_separators=True)
    word, found, rest = head.partition(" ")
    if found and word.isupper() and plain_word(word) in STATE_WORDS and not rest.isupper():
        return _without_symbols(rest + text[_MAX_STATE:], or_separators=True)
    return text
