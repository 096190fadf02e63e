"""The rules of an integration as an ordered list in words, and the changes that buttons make to it (pure)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from integrations.inbound.conditions import OPERATORS
from integrations.inbound.event import Action
from integrations.inbound.rule_checks import PRIORITIES

MAX_WORDS: Final = 300  # characters of a rule in words
WITHOUT_VALUE: Final = ("exists", "empty")
OPS: Final = [(op, op.replace("_", " ")) for op in OPERATORS]
ACTIONS: Final = [("", "As its status says"), *((action.value, action.value.capitalize()) for action in Action)]
PRIORITY_CHOICES: Final = [("", "As it says itself"), *((name, name.capitalize()) for name in PRIORITIES)]


def in_words(rule: Mapping[str, Any]) -> str:
    """Return a rule that was checked, without its name: “if host starts with db: priority critical”."""
    [(kind, conditions)] = rule.get("when", {"all": []}).items()
    joined = f" {'and' if kind == 'all' else 'or'} ".join(_condition(condition) for condition in conditions)
    then = "; ".join(_consequence(name, value) for name, value in rule["then"].items())
    text = f"{f'if {joined}' if joined else 'always'}: {then or 'nothing changes'}"
    if not rule.get("stop", True):
        text += "; the next rules are tried, too"
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"


def changed(rules: Sequence[Any], change: str) -> list[Any]:
    """Return the rules after `up:2`, `down:2` or `remove:2`; what makes no sense changes nothing."""
    what, _, number = change.partition(":")
    rows = list(rules)
    index = place(number, rows)
    if index is None:
        return rows
    row = rows.pop(index)
    if what == "remove":
        return rows
    rows.insert(max(0, index + {"up": -1, "down": 1}.get(what, 0)), row)
    return rows


def place(number: str, rules: Sequence[Any]) -> int | None:
    """Return the index of the rule with this number, which counts from 1; None if there is none."""
    index = int(number) - 1 if number.isascii() and number.isdecimal() and len(number) < 4 else -1
    return index if 0 <= index < len(rules) else None


def as_text(value: Any) -> str:
    """Return the value of a condition as its field shows it; the members of a list with commas between them."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(as_text(one) for one in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _consequence(name: str, value: Any) -> str:
    if name == "delay" and isinstance(value, dict):
        parts = [
            f"{value[part]} {noun}" for part, noun in (("count", "events"), ("minutes", "minutes")) if part in value
        ]
        return f"delay {' in '.join(parts) or 'none'}"
    return f"{name.replace('_', ' ')} {as_text(value)}"


def _condition(condition: Mapping[str, Any]) -> str:
    text = f"{condition['path']} {str(condition['op']).replace('_', ' ')}"
    if condition["op"] not in WITHOUT_VALUE:
        text += f" {as_text(condition.get('value'))}"
    return f"not ({text})" if condition.get("not") else text
