"""Checks of the settings that only Email integrations have, before they are saved: each fault at its field."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.db import connection

from heartbeat_project.kernel.errors import FieldError
from integrations.inbound.mail_addresses import MAX_ADDRESS, token_address
from integrations.inbound.patterns import PatternError, compile_pattern
from integrations.models.events import EventSettings

MAX_ALIASES: Final = 20
MAX_SENDERS: Final = 200
MAX_SEQUENCE: Final = 10_000
MAX_MARK: Final = 200  # characters of what stands before and behind a value
EXTRACTED: Final = (
    *(
        "source",
        "source_name",
        "source_id",
        "subject",
        "short_text",
        "long_text",
        "priority",
        "url",
        "status",
        "event_at",
    ),
)
_PLACES: Final = ("subject", "body")
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.!#$%&'*+/=?^_`{|}~-")


def plain_addresses(value: Any) -> Any:
    """Return addresses in lower case, each once; anything that is no list of texts as it is."""
    if not isinstance(value, list) or not all(isinstance(address, str) for address in value):
        return value
    return list(dict.fromkeys(address.strip().lower() for address in value))


def check_aliases(value: Any) -> None:
    """Check the form of aliases; that no other organization has them is checked by `check_free`."""
    if not isinstance(value, list) or len(value) > MAX_ALIASES:
        raise FieldError("aliases", f"The aliases are a list of at most {MAX_ALIASES} addresses.")
    for address in value:
        if not _is_address(address):
            raise FieldError("aliases", f"“{_short(address)}” is not a mail address.")
        if token_address(address) or address == settings.REPLY_ADDRESS.lower():
            raise FieldError("aliases", f"“{_short(address)}” already has a use in Heartbeat.")


def check_free(aliases: Sequence[str], *, organization_id: int) -> None:
    """Raise FieldError if another organization has one of these aliases. Call it in the transaction that saves them."""
    if not aliases:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('integrations.aliases', 0))")
    for address in aliases:
        others = EventSettings.objects.filter(aliases__contains=[address])
        if others.exclude(integration__organization=organization_id).exists():
            raise FieldError("aliases", f"The address “{_short(address)}” belongs to another organization.")


def check_sequence(value: Any) -> None:
    """Check the place in the order of integrations that have the same alias."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_SEQUENCE:
        raise FieldError("sequence", f"The sequence is a whole number from 1 to {MAX_SEQUENCE:,}.")


def check_senders(value: Any) -> None:
    """Check the senders that are allowed: addresses, or a domain behind an @."""
    if not isinstance(value, list) or len(value) > MAX_SENDERS:
        raise FieldError("allowed_senders", f"The allowed senders are a list of at most {MAX_SENDERS}.")
    for sender in value:
        if not _is_address(sender) and not _is_address(f"x{sender}"):
            text = f"“{_short(sender)}” is neither a mail address nor a domain such as @example.org."
            raise FieldError("allowed_senders", text)


def check_extract(value: Any) -> None:
    """Check where fields stand in a mail."""
    if not isinstance(value, Mapping):
        raise FieldError("extract", "The extraction is an object with a rule for each field.")
    for name, rule in value.items():
        field = f"extract/{name}"
        if name not in EXTRACTED:
            text = f"“{_short(name)}” is not a field that can be extracted: there are {', '.join(EXTRACTED)}."
            raise FieldError("extract", text)
        if not isinstance(rule, Mapping) or any(key not in {"from", "start", "end", "regex"} for key in rule):
            raise FieldError(field, f"{name}: a rule is an object with from, and start and end, or regex.")
        if any(not isinstance(part, str) or not _is_storable(part) for part in rule.values()):
            raise FieldError(field, f"{name}: from, start, end and regex are texts.")
        _check_rule(field, name, rule)


def _check_rule(field: str, name: str, rule: Mapping[str, str]) -> None:
    place = rule.get("from", "")
    kind, _, header = place.partition(":")
    if place not in _PLACES and not (kind == "header" and header.strip() and len(header) <= 100):
        raise FieldError(field, f"{name}: from must be subject, body, or header:Name.")
    if "regex" in rule:
        if "start" in rule or "end" in rule:
            raise FieldError(field, f"{name}: give start and end, or regex, not both.")
        try:
            compile_pattern(rule["regex"], is_capturing=True)
        except PatternError as error:
            raise FieldError(field, f"{name}: {error}") from error
        return
    if not rule.get("start") and not rule.get("end"):
        raise FieldError(field, f"{name}: give start, end or both, or regex.")
    if max(len(rule.get("start", "")), len(rule.get("end", ""))) > MAX_MARK:
        raise FieldError(field, f"{name}: start and end have at most {MAX_MARK} characters.")


def _is_address(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > MAX_ADDRESS or value.count("@") != 1:
        return False
    mailbox, _, host = value.lower().partition("@")
    return bool(mailbox and host) and _LETTERS.issuperset(mailbox) and (_LETTERS - {"_"}).issuperset(host)


def _is_storable(text: str) -> bool:
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text)


def _short(value: Any) -> str:
    return str(value)[:60]
