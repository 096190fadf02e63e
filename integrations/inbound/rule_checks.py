"""The check of an integration's rules when they are saved: what is wrong, in sentences that name rule and condition."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from integrations.inbound.conditions import OPERATORS, PathError, parse_path
from integrations.inbound.event import Action
from integrations.inbound.patterns import PatternError, compile_pattern
from integrations.inbound.templates import TemplateError, compile_template
from integrations.inbound.values import number_of

RULES_LIMIT: Final = 100
CONDITIONS_LIMIT: Final = 20
# Faults that are listed of one set of rules.
FAULTS_LIMIT: Final = 20
VALUE_LIMIT: Final = 500
CHOICES_LIMIT: Final = 100
NAME_LIMIT: Final = 100
IDS_LIMIT: Final = 500
PRIORITIES: Final = ("critical", "high", "medium", "low", "none")

_RULE_KEYS: Final = ("name", "when", "then", "stop")
_CONDITION_KEYS: Final = ("path", "op", "value", "not")
_DELAY_MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "minutes": ("minutes",),
    "count": ("count",),
    "count_within": ("minutes", "count"),
}
_WITHOUT_VALUE: Final = ("exists", "empty")
_NUMBERS: Final = ("above", "below")


def check_rules(rules: Any) -> list[str]:
    """Return what is wrong with the rules of an integration, at most 20 sentences; none if they can be saved.

    The ids in `then` are checked for their type only.
    """
    if not isinstance(rules, list):
        return ["The rules are a list."]
    if len(rules) > RULES_LIMIT:
        return [f"There are {len(rules)} rules; at most {RULES_LIMIT} are possible."]
    faults: list[str] = []
    for number, rule in enumerate(rules, 1):
        faults += [f"{_called(number, rule)}{fault}" for fault in _rule_faults(rule)]
        if len(faults) >= FAULTS_LIMIT:
            break
    return faults[:FAULTS_LIMIT]


def _called(number: int, rule: Any) -> str:
    name = rule.get("name") if isinstance(rule, dict) else None
    return f"Rule {number} ({name[:40]}), " if isinstance(name, str) and name else f"Rule {number}, "


def _rule_faults(rule: Any) -> Iterator[str]:
    if not isinstance(rule, dict):
        yield "it must be an object with name, when and then."
        return
    yield from _unknown(rule, _RULE_KEYS)
    name = rule.get("name", "")
    if not isinstance(name, str) or len(name) > NAME_LIMIT:
        yield f"name: it must be a text of at most {NAME_LIMIT} characters."
    if not isinstance(rule.get("stop", True), bool):
        yield "stop: it must be true or false."
    yield from _when_faults(rule.get("when", {"all": []}))
    yield from _then_faults(rule.get("then"))


def _when_faults(when: Any) -> Iterator[str]:
    if not isinstance(when, dict) or len(when) != 1 or not {*when} <= {"all", "any"}:
        yield "when: it must be an object with either all or any."
        return
    [(key, conditions)] = when.items()
    if not isinstance(conditions, list):
        yield f"when: {key} must be a list of conditions."
        return
    if len(conditions) > CONDITIONS_LIMIT:
        yield f"when: there are {len(conditions)} conditions; at most {CONDITIONS_LIMIT} are possible."
        return
    if key == "any" and not conditions:
        yield "when: any needs at least one condition."
    for number, condition in enumerate(conditions, 1):
        yield from (f"condition {number}: {fault}" for fault in _condition_faults(condition))


def _condition_faults(condition: Any) -> Iterator[str]:
    if not isinstance(condition, dict):
        yield "it must be an object with path, op and value."
        return
    yield from _unknown(condition, _CONDITION_KEYS)
    try:
        parse_path(_text(condition.get("path")))
    except PathError as error:
        yield str(error)
    if not isinstance(condition.get("not", False), bool):
        yield "not: it must be true or false."
    op = condition.get("op")
    if not isinstance(op, str) or op not in OPERATORS:
        yield f"op: “{str(op)[:40]}” is not known: there are {', '.join(OPERATORS)}."
    elif op not in _WITHOUT_VALUE and (fault := _value_fault(op, condition.get("value"))):
        yield fault


def _value_fault(op: str, value: Any) -> str:
    """Return what is wrong with the value that an operator compares with, "" if nothing is."""
    if op == "matches":
        return _pattern_fault(value)
    if op in _NUMBERS:
        return "" if number_of(value) is not None else f"“{op}” needs a number as its value."
    if op == "in":
        return _choices_fault(value)
    if not _is_plain(value):
        return f"“{op}” needs a text of at most {VALUE_LIMIT} characters, or a number, as its value."
    return f"“{op}” needs a value that is not empty." if op != "equals" and not str(value).strip() else ""


def _pattern_fault(value: Any) -> str:
    try:
        compile_pattern(_text(value))
    except PatternError as error:
        return str(error)
    return ""


def _choices_fault(value: Any) -> str:
    if not isinstance(value, list) or not 1 <= len(value) <= CHOICES_LIMIT:
        return f"“in” needs a list of 1 to {CHOICES_LIMIT} texts or numbers as its value."
    if all(_is_plain(choice) for choice in value):
        return ""
    return f"“in” compares with texts of at most {VALUE_LIMIT} characters, or numbers."


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= VALUE_LIMIT)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _unknown(given: dict[str, Any], known: tuple[str, ...]) -> Iterator[str]:
    for key in given:
        if key not in known:
            yield f"“{str(key)[:40]}” is not known: there are {', '.join(known)}."


def _then_faults(then: Any) -> Iterator[str]:
    if not isinstance(then, dict):
        yield f"then: it must be an object, with any of {', '.join(_THEN)}."
        return
    yield from (f"then: {fault}" for fault in _unknown(then, tuple(_THEN)))
    for key, check in _THEN.items():
        if key in then and (fault := check(then[key])):
            yield f"then: {key}: {fault}"
    if then.get("escalation_policy") is not None and then.get("response_play") is not None:
        yield "then: either escalation_policy or response_play can be set, not both."


def _choice(choices: tuple[str, ...]) -> Callable[[Any], str]:
    return lambda value: "" if value in choices else f"it must be one of {', '.join(choices)}."


def _id_fault(value: Any) -> str:
    return "" if value is None or _is_id(value) else "it must be an id, or null."


def _ids_fault(value: Any) -> str:
    if isinstance(value, list) and len(value) <= IDS_LIMIT and all(_is_id(each) for each in value):
        return ""
    return f"it must be a list of at most {IDS_LIMIT} ids."


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _flag_fault(value: Any) -> str:
    return "" if isinstance(value, bool) else "it must be true or false."


def _template_fault(value: Any) -> str:
    try:
        compile_template(value if isinstance(value, str) else "")
    except TemplateError as error:
        return str(error)
    return "" if isinstance(value, str) and value.strip() else "it must be a text that is not empty."


def _delay_fault(value: Any) -> str:
    modes = ", ".join(_DELAY_MODES)
    if not isinstance(value, dict) or value.get("mode") not in tuple(_DELAY_MODES):
        return f"it must be an object with a mode, one of {modes}."
    for key in _DELAY_MODES[value["mode"]]:
        if key == "minutes" and not _is_number(value.get(key)):
            return f"the mode “{value['mode']}” needs minutes, a number from 0.1."
        if key == "count" and not _is_id(value.get(key)):
            return f"the mode “{value['mode']}” needs count, a whole number from 1."
    return next(_unknown(value, ("mode", "minutes", "count")), "")


_THEN: Final[Mapping[str, Callable[[Any], str]]] = {
    "action": _choice(tuple(Action)),
    "priority": _choice(PRIORITIES),
    "escalation_policy": _id_fault,
    "response_play": _id_fault,
    "recipient_groups": _ids_fault,
    "recipient_users": _ids_fault,
    "replace": _flag_fault,
    "subject": _template_fault,
    "note": _template_fault,
    "delay": _delay_fault,
}
