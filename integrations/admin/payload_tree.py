"""The payload of an event as a tree whose values know their paths in templates and in rules (pure).

Secrets are masked, by the names of their keys and as in logs; their paths can be picked all the same.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from heartbeat_project.masking import HIDDEN, masked
from integrations.inbound.default_keys import is_secret, plain_key

MAX_LINES: Final = 500
MAX_VALUE: Final = 200  # characters of a value
MAX_DEPTH: Final = 30
_SPECIAL: Final = frozenset(".[]\"'")
# Names of keys with secrets besides those of `is_secret`, which alerts leave out.
_MORE_SECRETS: Final = ("passwd", "pwd", "passphrase", "credential", "privatekey", "cookie", "signature")


@dataclass(slots=True)
class Node:
    """A key with its value; `template` and `path` are "" where the language cannot name it."""

    key: str
    value: str = ""
    template: str = ""
    path: str = ""
    children: "list[Node]" = field(default_factory=list)
    note: str = ""


@dataclass(slots=True)
class _Budget:
    lines: int = MAX_LINES
    left_out: int = 0


def tree_of(payload: Any) -> tuple[Node, int]:
    """Return the payload as a tree of at most MAX_LINES lines, and how many values were left out, at least."""
    budget = _Budget()
    return _node("payload", payload, "payload", "", budget, depth=0, is_hidden=False), budget.left_out


def hides(key: str) -> bool:
    """Return whether the value of a key, or of a header or parameter, is not shown."""
    return is_secret(key) or any(word in plain_key(key[:200]) for word in _MORE_SECRETS)


def _node(
    key: str, value: Any, template: str, path: str | None, budget: _Budget, *, depth: int, is_hidden: bool
) -> Node:
    budget.lines -= 1
    braces = f"{{{{ {template} }}}}" if template else ""
    node = Node(key, template=braces, path="." if path == "" else path or "")
    if not isinstance(value, dict | list) or depth >= MAX_DEPTH:
        node.value = HIDDEN if is_hidden and value not in (None, "") else _text(value)
        return node
    children = list(_children(value, template, path))
    node.note = f"{len(children)} {'element' if isinstance(value, list) else 'key'}{'' if len(children) == 1 else 's'}"
    for name, inner, inner_template, inner_path in children:
        if budget.lines <= 0:
            budget.left_out += 1
            continue
        inner_hidden = is_hidden or (isinstance(value, dict) and hides(name))
        child = _node(name, inner, inner_template, inner_path, budget, depth=depth + 1, is_hidden=inner_hidden)
        node.children.append(child)
    return node


def _children(value: Any, template: str, path: str | None) -> Iterator[tuple[str, Any, str, str | None]]:
    """Yield key, value, template and path of each child; a child of what cannot be named cannot be named either."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            step = f"[{index}]"
            yield step, inner, template and f"{template}{step}", None if path is None else f"{path}{step}"
        return
    for key, inner in value.items():
        quoted = f"[{json.dumps(key, ensure_ascii=False)}]"
        is_name = key.isascii() and key.isidentifier()
        step = f".{key}" if is_name else quoted
        in_template = f"{template}{step}" if template and not key.startswith("_") else ""
        if path is None or '"]' in key:
            in_path = None
        elif key.strip() == key and key and not _SPECIAL & {*key}:
            in_path = f"{path}.{key}" if path else key
        else:
            in_path = f'{path}["{key}"]'
        yield key, inner, in_template, in_path


def _text(value: Any) -> str:
    text = masked(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"
