"""The rules of an integration as an ordered list in words, and the changes that buttons make to it (pure)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from integrations.inbound.conditions import OPERATORS
from integrations.inbound.event import Action
from integrations.inbound.rule_checks import PRIORITIES

MAX_WORDS: Final = 300  # characters of a rule in words
_WITHOUT_VALUE: Final = ("exists", "empty")
OPS: Final = [(op, op.replace("_", " ")) for op in OPERATORS]
ACTIONS: Final = [("", "As its status says"), *((action.value, action.value.capitalize()) for action in Action)]
PRIORITY_CHOICES: Final = [("", "As it says itself"), *((name, name.capitalize()) for name in PRIORITIES)]


def in_words(rule: Mapping[str, Any]) -> str:
    """Return a rule that was checked, without its name: “if host starts with db: priority critical”."""
    [(kind, conditions)] = rule.get("when", {"all": []}).items()
    joined = f" {'and' if kind == 'all' else 'or'} ".join(_condition(condition) for condition in conditions)
    then = "; ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in rule["then"].items())
    text = f"{f'if {joined}' if joined else 'always'}: {then or 'nothing changes'}"
    if not rule.get("stop", True):
        text += "; the next rules are tried, too"
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"


def changed(rules: Sequence[Any], change: str, fields: Mapping[str, str]) -> list[Any]:
    """Return the rules after `up:2`, `down:2`, `remove:2` or `add`; what makes no sense changes nothing."""
    what, _, number = change.partition(":")
    rows = list(rules)
    if what == "add":
        return [*rows, _new(fields)]
    index = int(number) - 1 if number.isascii() and number.isdecimal() and len(number) < 4 else -1
    if not 0 <= index < len(rows):
        return rows
    row = rows.pop(index)
    if what == "remove":
        return rows
    rows.insert(max(0, index + {"up": -1, "down": 1}.get(what, 0)), row)
    return rows


def _new(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the rule that the fields for a new one describe."""
    rule: dict[str, Any] = {"name": fields["new_name"].strip()} if fields.get("new_name", "").strip() else {}
    conditions: list[dict[str, Any]] = []
    if path := fields.get("new_path", "").strip():
        condition: dict[str, Any] = {"path": path, "op": fields.get("new_op", "")}
        value = fields.get("new_value", "").strip()
        if condition["op"] == "in":
            condition["value"] = [word.strip() for word in value.split(",") if word.strip()]
        elif condition["op"] not in _WITHOUT_VALUE:
            condition["value"] = value
        conditions.append(condition)
    asked = {"action": fields.get("new_action", ""), "priority": fields.get("new_priority", "")}
    return {**rule, "when": {"all": conditions}, "then": {name: value for name, value in asked.items() if value}}


def _condition(condition: Mapping[str, Any]) -> str:
    text = f"{condition['path']} {str(condition['op']).replace('_', ' ')}"
    if condition["op"] not in _WITHOUT_VALUE:
        text += f" {_value(condition.get('value'))}"
    return f"not ({text})" if condition.get("not") else text


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
