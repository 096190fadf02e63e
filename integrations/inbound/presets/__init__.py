"""What is known about the events of some senders. A preset is data: one TOML file each; docs/integrations/ says how.

`recognize` goes by headers first, then by keys and conditions on the payload. A field that a preset does not find is
read by the default keys.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from integrations.inbound.conditions import holds
from integrations.inbound.event import Action

# In this order they are tried, if several fit.
NAMES: Final = ("grafana", "alertmanager", "cloudwatch", "github", "gitlab", "sentry", "uptime_kuma", "zabbix")
_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How an event looks: beginnings of headers, keys of the payload, and conditions on it. All of them must hold."""

    headers: Mapping[str, str] = field(default_factory=dict)
    keys: Sequence[str] = ()
    when: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, payload: Any, headers: Mapping[str, str]) -> bool:
        """Return whether an event looks like this."""
        if any(not _begins(headers, name, start) for name, start in self.headers.items()):
            return False
        if self.keys and not (isinstance(payload, Mapping) and all(key in payload for key in self.keys)):
            return False
        return not self.when or holds(self.when, payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the fields of an event are read.

    `fields` has templates by field, `status_words` words by action, `otherwise` what other words ask for. An event is
    ignored if `ignore` has the reason.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    status_words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    otherwise: Action | None = None
    ignore: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One kind of event of a sender. Its reading goes before the preset's."""

    shape: Shape
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPaths:
    """Where the parts of an event stand that have a state of their own, as paths; the first that has a value counts.

    `key_of` is an object whose hash is the key of a member without one. `left_out` says how many members the sender did
    not send.
    """

    list: str
    key: Sequence[str] = ()
    key_of: str = ""
    subject: Sequence[str] = ()
    status: Sequence[str] = ()
    priority: Sequence[str] = ()
    started_at: Sequence[str] = ()
    ended_at: Sequence[str] = ()
    left_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What is known about a sender.

    `prepare` names a function of `prepare.py` for the payload. `element` is the reading of one element if the
    integration splits events by `each`. A sender that `repeats` sends a problem again and again as long as it lasts,
    each time with the time when it began.
    """

    name: str
    label: str
    shapes: Sequence[Shape]
    reading: Reading
    variants: Sequence[Variant] = ()
    members: MemberPaths | None = None
    element: Reading | None = None
    prepare: str = ""
    repeats: bool = False

    def readings(self, payload: Any, headers: Mapping[str, str], *, is_element: bool) -> list[Reading]:
        """Return the readings that apply to an event, the most special first."""
        if is_element and self.element is not None:
            return [self.element]
        special = [each.reading for each in self.variants if each.shape.fits(payload, headers)]
        return [*special[:1], self.reading]


@cache
def presets() -> Mapping[str, Preset]:
    """Return the presets by name, in the order in which they are tried."""
    return {name: _load(name) for name in NAMES}


def recognize(payload: Any, headers: Mapping[str, str]) -> Preset | None:
    """Return the preset that an event fits; None for none."""
    for by_header in (True, False):
        for preset in presets().values():
            shapes = (shape for shape in preset.shapes if bool(shape.headers) is by_header)
            if any(shape.fits(payload, headers) for shape in shapes):
                return preset
    return None


def _begins(headers: Mapping[str, str], name: str, start: str) -> bool:
    value = headers.get(name)
    return value is not None and value[: len(start)].lower() == start.lower()


def _load(name: str) -> Preset:
    """Read the file of a preset. Raises TypeError for a word that it must not have."""
    data = tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))
    element, members = data.pop("element", None), data.pop("members", None)
    return Preset(
        name=name,
        label=data.pop("label"),
        shapes=[Shape(**shape) for shape in data.pop("shapes")],
        variants=[
            Variant(shape=Shape(**variant.pop("shape")), reading=_reading(variant))
            for variant in data.pop("variants", [])
        ],
        members=MemberPaths(**members) if members else None,
        element=_reading(element) if element else None,
        prepare=data.pop("prepare", ""),
        repeats=data.pop("repeats", False),
        reading=_reading(data),
    )


def _reading(data: dict[str, Any]) -> Reading:
    otherwise = data.pop("otherwise", None)
    return Reading(otherwise=Action(otherwise) if otherwise else None, **data)
