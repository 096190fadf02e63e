"""Turns a parsed value into one that PostgreSQL can store as jsonb, of bounded depth and size (pure).

jsonb knows no NUL and no lone surrogates. It would take deeper and larger values, but what reads them later should not
have to.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final

# Objects and lists within each other.
MAX_DEPTH: Final = 64
# Keys of all objects together, and elements of all lists together.
MAX_KEYS: Final = 10_000
MAX_ELEMENTS: Final = 100_000
_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def clean(value: Any) -> tuple[Any, str]:
    """Clean a JSON value in place; return it, and what it lost ("" if nothing).

    It goes level by level. So the keys that are dropped are the deepest ones, wherever they stand, and never those at
    the top, which say what the event is.
    """
    holder = [value]
    budget = _Budget()
    level: list[Any] = [holder]
    for depth in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for container in level:
            # At the last level, what lies below it becomes text.
            children = below if depth < MAX_DEPTH else None
            if isinstance(container, dict):
                _clean_object(container, budget, children)
            else:
                _clean_list(container, budget, children)
        level = below
    return holder[0], budget.loss_text


def clean_text(text: str) -> str:
    """Return the text with NUL and lone surrogates replaced."""
    return text if text.isascii() and "\0" not in text else _NOT_STORABLE.sub(_REPLACEMENT, text)


@dataclass(slots=True)
class _Budget:
    """How many keys and elements may still be kept, and what was lost."""

    keys: int = MAX_KEYS
    elements: int = MAX_ELEMENTS + 1  # with the value itself
    has_lost_keys: bool = False
    has_lost_elements: bool = False
    has_lost_depth: bool = False

    @property
    def loss_text(self) -> str:
        losses = [
            (self.has_lost_keys, f"Only the first {MAX_KEYS:,} keys are kept."),
            (self.has_lost_elements, f"Only the first {MAX_ELEMENTS:,} elements of lists are kept."),
            (self.has_lost_depth, f"Parts deeper than {MAX_DEPTH} levels are kept as text."),
        ]
        return " ".join(text for is_lost, text in losses if is_lost)


def _clean_list(items: list[Any], budget: _Budget, below: list[Any] | None) -> None:
    if len(items) > budget.elements:
        del items[budget.elements :]
        budget.has_lost_elements = True
    budget.elements -= len(items)
    for index, item in enumerate(items):
        kept = _clean_item(item, budget, below)
        if kept is not item:
            items[index] = kept


def _clean_object(fields: dict[str, Any], budget: _Budget, below: list[Any] | None) -> None:
    if len(fields) > budget.keys:
        for name in list(fields)[budget.keys :]:
            del fields[name]
        budget.has_lost_keys = True
    budget.keys -= len(fields)
    has_bad_names = False
    for name, item in fields.items():
        if not name.isascii() or "\0" in name:
            has_bad_names = True
        kept = _clean_item(item, budget, below)
        if kept is not item:
            fields[name] = kept
    if has_bad_names:
        named = [(clean_text(name), item) for name, item in fields.items()]
        fields.clear()
        fields.update(named)


def _clean_item(item: Any, budget: _Budget, below: list[Any] | None) -> Any:
    """Return what stands for this item; what lies inside it is cleaned when `below` is."""
    kind = type(item)
    if kind is str:
        return clean_text(item)
    if kind is dict or kind is list:
        if below is None:
            budget.has_lost_depth = True
            return _as_text(item)
        below.append(item)
    elif kind is float and not math.isfinite(item):
        return str(item)
    return item


def _as_text(value: Any) -> str:
    try:
        return clean_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except RecursionError:
        return "…"
