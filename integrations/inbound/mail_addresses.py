"""Mail addresses of integrations: a secret of 26 letters, and behind a plus sign the key that a sender gives (pure)."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

MAIL_TOKEN_LENGTH: Final = 26
MAX_KEY: Final = 200  # characters
MAX_ADDRESS: Final = 320
# Recipients of a mail that are looked at; a mail server sends a mail with more of them in several parts.
MAX_RECIPIENTS: Final = 100
# Bytes of a mail's headers that are read: mail servers accept fewer.
HEADERS_LENGTH: Final = 262_144
_BASE32: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")
# Characters that separate addresses; none of them can occur in one of ours.
_SEPARATORS: Final = str.maketrans(dict.fromkeys(",;:<>()[]\"'\t\r\n", " "))
_RECIPIENT_HEADERS: Final = ("delivered-to", "x-original-to", "to", "cc")


class TokenAddress(NamedTuple):
    """The parts of an integration's own address; `key` is "" without a plus sign."""

    token: str
    key: str


def token_address(address: str) -> TokenAddress | None:
    """Return the parts of an address that can be an integration's own, whatever its domain; None for any other."""
    mailbox = address.rpartition("@")[0]
    token, _, key = mailbox.partition("+")
    token = token.lower()
    if len(token) != MAIL_TOKEN_LENGTH or not _BASE32.issuperset(token):
        return None
    return TokenAddress(token, key[:MAX_KEY])


def named_recipients(raw: bytes) -> list[str]:
    """Return the addresses in the headers of an unparsed mail that can be its recipients, at most MAX_RECIPIENTS.

    Those that can be an integration's own come first, then the others. The time grows only with the headers' length.
    """
    own: dict[str, None] = {}
    others: dict[str, None] = {}
    for word in _recipient_words(raw):
        if token_address(word):
            own.setdefault(word)
        elif len(others) < MAX_RECIPIENTS:
            others.setdefault(word.lower())
        if len(own) >= MAX_RECIPIENTS:
            break
    return [*own, *others][:MAX_RECIPIENTS]


def recipient_parameters(addresses: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the parameters of mail_recipients.sql for these addresses, and the key of each, "" for none."""
    tokens = [token_address(address) for address in addresses]
    # Anything that PostgreSQL might refuse in a text is in no address of ours.
    plain = [address.lower() if address.isprintable() and len(address) <= MAX_ADDRESS else "" for address in addresses]
    parameters = {
        "tokens": _array(found.token if found else "" for found in tokens),
        "addresses": _array("" if found else address for found, address in zip(tokens, plain, strict=True)),
    }
    return parameters, [clean_key(found.key) if found else "" for found in tokens]


def clean_key(key: str) -> str:
    """Return what can be stored of a key."""
    return "".join(letter for letter in key if letter.isprintable() and not "\ud800" <= letter <= "\udfff")


def headers_end(raw: bytes) -> int:
    """Return the offset in bytes of the first empty line."""
    ends = [offset for mark in (b"\n\n", b"\n\r\n", b"\r\r") if (offset := raw.find(mark)) >= 0]
    return min(ends, default=len(raw))


def is_allowed(address: str, allowed: Sequence[str]) -> bool:
    """Return whether an address is among those that are allowed, which are addresses or @domains in lower case."""
    address = address.strip().lower()
    return address in allowed or f"@{address.rpartition('@')[2]}" in allowed


def _array(texts: Iterable[str]) -> str:
    """Return texts as an array literal, in which a JSON string is a quoted element."""
    return "{" + json.dumps([clean_key(text) for text in texts], ensure_ascii=False)[1:-1] + "}"


def _recipient_words(raw: bytes) -> Iterator[str]:
    head = raw[: min(headers_end(raw[:HEADERS_LENGTH]), HEADERS_LENGTH)].decode("ascii", "replace")
    is_recipients = False
    for line in head.splitlines():
        if line[:1] not in {" ", "\t"}:
            name, _, line = line.partition(":")  # noqa: PLW2901 - the rest of it
            is_recipients = name.strip().lower() in _RECIPIENT_HEADERS
        if is_recipients:
            for word in line.translate(_SEPARATORS).split():
                if "@" in word and len(word) <= MAX_ADDRESS:
                    yield word
