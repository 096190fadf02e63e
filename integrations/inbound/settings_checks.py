"""Checks how an integration reads its events before it is saved: each fault at its field, in a sentence."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django.db.models import Model

from accounts.models.groups import Group
from accounts.models.users import User
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.errors import FieldError
from integrations.configuration.edits import MAX_MINUTES
from integrations.inbound import mail_checks, signatures
from integrations.inbound.delays import MAX_COUNT, MODES
from integrations.inbound.delays import MAX_MINUTES as MAX_DELAY
from integrations.inbound.rule_checks import check_rules
from integrations.inbound.templates import TemplateError, compile_template
from integrations.models.events import EventSettings

PRESETS: Final = (
    "auto",
    "alertmanager",
    "grafana",
    "cloudwatch",
    "github",
    "gitlab",
    "sentry",
    "uptime_kuma",
    "zabbix",
    "none",
)
MAPPED: Final = (
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
    "each",
)
STATUS_ACTIONS: Final = ("close", "acknowledge", "update", "ignore")
MAX_WORDS: Final = 100  # of one action
MAX_WORD: Final = 100  # characters
MAX_STORM: Final = 100_000
# Characters of all rules as JSON. They are parsed for each event.
MAX_RULES_LENGTH: Final = 500_000


def check_settings(event_settings: EventSettings, fields: Collection[str], *, organization_id: int) -> None:
    """Check the values of these fields. Raises FieldError; its field is that of the mapping within `mapping/`."""
    for field in fields:
        value = getattr(event_settings, field)
        if field == "rules":
            _check_rules(value, organization_id=organization_id)
        elif field in _CHECKS:
            _CHECKS[field](value)


def with_stored_secret(signature: Any, stored: Mapping[str, Any] | None) -> Any:
    """Return the signature; one without a secret keeps the stored one, which nobody can read, for the same scheme."""
    if not isinstance(signature, dict) or signature.get("secret") is not None:
        return signature
    if stored is None or stored.get("scheme") != signature.get("scheme"):
        return signature
    return {**signature, "secret": stored.get("secret")}


def _check_preset(value: Any) -> None:
    if value not in PRESETS:
        raise FieldError("preset", f"The preset must be one of {', '.join(PRESETS)}.")


def _check_no_rule(value: Any) -> None:
    if value not in EventSettings.NoRule.values:
        raise FieldError("no_rule", f"It must be one of {', '.join(EventSettings.NoRule.values)}.")


def _check_mapping(value: Any) -> None:
    if not isinstance(value, Mapping):
        raise FieldError("mapping", "The mapping is an object with a template for each field.")
    for name, template in value.items():
        if name not in MAPPED:
            text = f"“{_short(name)}” is not a field of the mapping: there are {', '.join(MAPPED)}."
            raise FieldError("mapping", text)
        if not isinstance(template, str) or not template.strip():
            text = f"The template of {name} must be a text that is not empty. Leave the field out to use the default."
            raise FieldError(f"mapping/{name}", text)
        try:
            compiled = compile_template(template)
        except TemplateError as error:
            raise FieldError(f"mapping/{name}", str(error)) from error
        if name == "each" and not compiled.is_expression:
            text = "The template of each must be one {{ expression }}, which is a list, without text around it."
            raise FieldError("mapping/each", text)


def _check_status_words(value: Any) -> None:
    if not isinstance(value, Mapping):
        raise FieldError("status_words", "The status words are an object with a list of words for each action.")
    action_of: dict[str, str] = {}
    for action, words in value.items():
        if action not in STATUS_ACTIONS:
            text = f"“{_short(action)}” is not known: there are {', '.join(STATUS_ACTIONS)}."
            raise FieldError("status_words", text)
        field = f"status_words/{action}"
        if not isinstance(words, list) or len(words) > MAX_WORDS:
            raise FieldError(field, f"The words of {action} are a list of at most {MAX_WORDS}.")
        for word in words:
            if not isinstance(word, str) or not word.strip() or len(word) > MAX_WORD:
                raise FieldError(field, f"Each word of {action} is a text of 1 to {MAX_WORD} characters.")
            if not _is_storable(word):
                raise FieldError(field, f"A word of {action} has characters that are not allowed.")
            other = action_of.setdefault(word.strip().casefold(), action)
            if other != action:
                raise FieldError(field, f"“{_short(word)}” is among the words of {other}, too.")


def _check_rules(value: Any, *, organization_id: int) -> None:
    if faults := check_rules(value):
        raise FieldError("rules", " ".join(faults))
    for number, rule in enumerate(value, 1):
        for condition in next(iter(rule.get("when", {"all": []}).values())):
            if condition["op"] in {"exists", "empty"} and isinstance(condition.get("value"), Mapping | list):
                raise FieldError("rules", f"Rule {number}, when: “{condition['op']}” compares with no value.")
    if not _is_storable(value):
        raise FieldError("rules", "A rule has characters that are not allowed.")
    if len(json.dumps(value)) > MAX_RULES_LENGTH:
        raise FieldError("rules", f"The rules are too long: they may have {MAX_RULES_LENGTH:,} characters together.")
    for number, rule in enumerate(value, 1):
        if delay := rule["then"].get("delay"):
            _check_delay(delay, field="rules", subject=f"Rule {number}, then: delay: ")
    _check_targets(value, organization_id=organization_id)


def _check_targets(rules: Iterable[Mapping[str, Any]], *, organization_id: int) -> None:
    """Check that what rules name belongs to the organization, with one query for each kind."""
    for key, model, noun in _TARGETS:
        numbers = {pk: number for number, rule in reversed(list(enumerate(rules, 1))) for pk in _ids(rule["then"], key)}
        rows = model._default_manager.filter(organization_id=organization_id).in_bulk(numbers)  # noqa: SLF001 - Django's name
        for pk, number in sorted(numbers.items(), key=lambda item: item[1]):
            row = rows.get(pk)
            if row is None:
                raise FieldError("rules", f"Rule {number}, then: {key}: there is no {noun} {pk}.")
            if isinstance(row, User) and not row.is_active:
                raise FieldError("rules", f"Rule {number}, then: {key}: {row.name} is deactivated.")


def _ids(then: Mapping[str, Any], key: str) -> list[int]:
    value = then.get(key)
    return value if isinstance(value, list) else [] if value is None else [value]


def _check_delay(value: Any, *, field: str = "delay", subject: str = "") -> None:
    def refuse(text: str) -> FieldError:
        return FieldError(field, f"{subject}{text}")

    if not isinstance(value, Mapping) or value.get("mode") not in MODES:
        raise refuse(f"The delay is an object with a mode, one of {', '.join(MODES)}.")
    if unknown := [name for name in value if name not in {"mode", "minutes", "count"}]:
        raise refuse(f"A delay has no “{_short(unknown[0])}”: there are mode, minutes and count.")
    mode, length, count = value["mode"], value.get("minutes"), value.get("count")
    if length is None and mode in {"minutes", "count_within"}:
        raise refuse(f"The mode {mode} needs minutes.")
    if count is None and mode in {"count", "count_within"}:
        raise refuse(f"The mode {mode} needs count.")
    if length is not None and not _is_length(length):
        raise refuse(f"The minutes are a number from 0.1 to {MAX_DELAY:,}, with at most one decimal place.")
    if count is not None and not (_is_whole(count) and 1 <= count <= MAX_COUNT):
        raise refuse(f"The count is a whole number from 1 to {MAX_COUNT:,}.")


def _check_minutes(field: str, noun: str, value: Any) -> None:
    if not 0 <= Decimal(value) <= MAX_MINUTES:
        raise FieldError(field, f"{noun} is from 0 to {MAX_MINUTES:,} minutes (31 days). 0 turns it off.")


def _check_storm(value: Any) -> None:
    if not _is_whole(value) or not 0 <= value <= MAX_STORM:
        raise FieldError("storm_per_minute", f"The number of alerts is from 0 to {MAX_STORM:,}. 0 means no limit.")


def _check_signature(value: Any) -> None:
    if value is not None and (faults := signatures.faults(value)):
        raise FieldError("signature", " ".join(faults))


_CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    "preset": _check_preset,
    "mapping": _check_mapping,
    "status_words": _check_status_words,
    "no_rule": _check_no_rule,
    "delay": _check_delay,
    "group_minutes": partial(_check_minutes, "group_minutes", "The time of a group"),
    "auto_close_minutes": partial(_check_minutes, "auto_close_minutes", "The time until an alert closes by itself"),
    "storm_per_minute": _check_storm,
    "signature": _check_signature,
    "aliases": mail_checks.check_aliases,
    "sequence": mail_checks.check_sequence,
    "allowed_senders": mail_checks.check_senders,
    "extract": mail_checks.check_extract,
}
# What a rule may name, by the key in `then`.
_TARGETS: Final[Sequence[tuple[str, type[Model], str]]] = (
    ("escalation_policy", EscalationPolicy, "escalation policy"),
    ("response_play", ResponsePlay, "response play"),
    ("recipient_groups", Group, "group"),
    ("recipient_users", User, "user"),
)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_length(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and Decimal("0.1") <= value <= MAX_DELAY and round(value, 1) == value


def _is_storable(value: Any) -> bool:
    """Return whether PostgreSQL can store all texts in a JSON value: it takes no NUL and no half of a character."""
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for text in _texts(value) for letter in text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _short(value: Any) -> str:
    return str(value)[:40]
