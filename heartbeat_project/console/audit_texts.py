"""What the entries of the audit log say to people: changed fields, with the names of what they refer to."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Model

from accounts.models.audit import AuditEntry
from accounts.models.groups import Group
from accounts.models.users import Role, User
from alerting.models.bridges import Bridge
from escalation.models.policies import EscalationPolicy, ResponsePlay
from integrations.models.integrations import InboundIntegration

MAX_SHOWN_LENGTH: Final = 200  # characters of one value on the page
# Fields whose numbers are ids; other numbers in entries are none.
KINDS: Final[Mapping[str, type[Model]]] = {
    **dict.fromkeys(("user", "cover", "owner", "actor", "recipient_users"), User),
    **dict.fromkeys(("group", "child", "recipient_groups"), Group),
    **dict.fromkeys(("role", "roles"), Role),
    "escalation_policy": EscalationPolicy,
    "response_play": ResponsePlay,
    "bridge": Bridge,
    **dict.fromkeys(("integration", "inboundintegration", "integrations", "opt_outs"), InboundIntegration),
}
# Parts of a row that its place in the list or another field says better.
_UNSAID: Final = frozenset({"position", "playtier"})

Names = Mapping[tuple[type[Model], int], str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One changed field, for people: “Roles: Basic -> Basic, App Admin”."""

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.field}: {self.before or '-'} -> {self.after or '-'}"


def differences(entries: Iterable[AuditEntry], *, reader: User) -> list[list[Difference]]:
    """Return the changed fields of each entry, in the order of their names.

    The names of objects are those of now, from the reader's organization; they are read with one query for each kind of
    object, however many entries there are.
    """
    entries = list(entries)
    names = _names([value for entry in entries for value in (entry.before, entry.after)], reader=reader)
    return [list(_differences(entry, names)) for entry in entries]


def _differences(entry: AuditEntry, names: Names) -> Iterator[Difference]:
    before, after = entry.before or {}, entry.after or {}
    for field in sorted({*before, *after}):
        old, new = before.get(field), after.get(field)
        label = field.replace("_", " ").capitalize()
        if isinstance(old, list) or isinstance(new, list):
            yield Difference(label, *_lists(old or [], new or [], field=field, names=names))
        else:
            yield Difference(label, *(_shortened(_text(value, field=field, names=names)) for value in (old, new)))


def _lists(old: list[Any], new: list[Any], *, field: str, names: Names) -> tuple[str, str]:
    """Return both lists as texts; of long ones only what differs."""
    texts = [[_text(item, field=field, names=names) for item in items] for items in (old, new)]
    if any(len(", ".join(items)) > MAX_SHOWN_LENGTH for items in texts):
        both = {*texts[0]} & {*texts[1]}
        texts = [[*(item for item in items if item not in both), "…"] if both else items for items in texts]
    # Rows of several fields have commas within.
    between = "; " if any(", " in text for items in texts for text in items) else ", "
    before, after = (_shortened(between.join(items)) or "none" for items in texts)
    return before, after


def _names(values: Iterable[Any], *, reader: User) -> dict[tuple[type[Model], int], str]:
    """Return the names of all objects that the values of entries refer to, by their models and ids."""
    ids: defaultdict[type[Model], set[int]] = defaultdict(set)
    for value in values:
        for model, pk in _references(value, field=""):
            ids[model].add(pk)
    return {
        (model, pk): name
        for model, pks in ids.items()
        for pk, name in model._default_manager.filter(organization=reader.organization_id, pk__in=pks).values_list(  # noqa: SLF001 - Django's documented name
            "pk", "name"
        )
    }


def _references(value: Any, *, field: str) -> Iterator[tuple[type[Model], int]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _references(part, field=name)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item, field=field)
    elif field in KINDS and _is_id(value):
        yield KINDS[field], value


def _text(value: Any, *, field: str, names: Names) -> str:
    """Return a value of an entry as people read it; "" for nothing."""
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return _row_text(value, names=names)
    if isinstance(value, list):
        return ", ".join(_text(item, field=field, names=names) for item in value)
    if field in KINDS and _is_id(value):
        return names.get((KINDS[field], value), f"(deleted) {value}")
    return str(value)


def _row_text(row: Mapping[str, Any], *, names: Names) -> str:
    """Return “Ana (primary)” for a row about an object, and the fields with their names for another."""
    # A row of a policy is about a role of groups, which is no object.
    about = [name for name, part in row.items() if name in KINDS and _is_id(part)] or [
        name for name in row if name == "role"
    ]
    fields = []
    for name, part in row.items():
        if name in about or name in _UNSAID:
            continue
        text = _text(part, field=name, names=names)
        label = name.replace("_", " ")
        if not about:
            fields.append(f"{label} {text or '-'}")
        elif text:
            fields.append(text if isinstance(part, str) else f"{label} {text}")
    if not about:
        return ", ".join(fields)
    objects = ", ".join(_text(row[name], field=name, names=names) for name in about)
    return f"{objects} ({', '.join(fields)})" if fields else objects


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 1]}…"
