"""The parts of an event that have a state of their own, such as the alerts of an Alertmanager group."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from integrations.inbound.conditions import parse_path, values_at
from integrations.inbound.default_keys import (
    PRIORITIES,
    StatusWords,
    clean_line,
    digest_of,
    priority_of,
    text_of,
)
from integrations.inbound.event import Action, Member
from integrations.inbound.event_times import parse_time
from integrations.inbound.presets import MemberPaths

MAX_MEMBERS: Final = 200
_MORE_KEY: Final = "more"
# Members that are looked at; if there are more, they count as open.
_MAX_STATES: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The members of an event and what follows from them for the whole."""

    members: Sequence[Member]
    action: Action
    priority: str
    started_at: datetime | None
    ended_at: datetime | None

    def event_at(self, action: Action) -> datetime | None:
        """Return when the newest open member began; for a close when the last one ended."""
        return self.ended_at if action is Action.CLOSE else self.started_at


def read_group(payload: Any, paths: MemberPaths, words: StatusWords, *, now: datetime) -> Group | None:
    """Return the members of an event; None if it has none.

    The event is open while a member is. If the sender left members out and no other is open, nobody knows.
    """
    elements = next((value for value in _at(payload, paths.list) if isinstance(value, list)), [])
    elements = [element for element in elements if isinstance(element, Mapping)]
    if not elements:
        return None
    states = [words.action(_first(element, paths.status)) is not Action.CLOSE for element in elements[:_MAX_STATES]]
    is_more_open = any(states[MAX_MEMBERS:]) or len(elements) > _MAX_STATES
    seen = list(zip(elements, states, strict=False))[:MAX_MEMBERS]
    counting = [element for element, is_open in seen if is_open] or [element for element, _ in seen]
    return Group(
        members=_members(seen, paths, more=len(elements) - len(seen), is_more_open=is_more_open),
        action=_action(any(states) or is_more_open, _first(payload, [paths.left_out]) if paths.left_out else ""),
        priority=_highest(_first(element, paths.priority) for element in counting),
        started_at=_newest((_first(element, paths.started_at) for element in counting), now=now),
        ended_at=_newest((_first(element, paths.ended_at) for element, _ in seen), now=now),
    )


def _members(seen: Sequence[tuple[Any, bool]], paths: MemberPaths, *, more: int, is_more_open: bool) -> list[Member]:
    members: dict[str, Member] = {}
    for element, is_open in seen:
        key = _key(element, paths)
        subject = clean_line(_first(element, paths.subject), 300) or key
        is_twice_open = key in members and members[key].is_open
        members[key] = Member(key=key, subject=subject, is_open=is_open or is_twice_open)
    if more > 0:
        members[_MORE_KEY] = Member(key=_MORE_KEY, subject=f"and {more} more", is_open=is_more_open)
    return list(members.values())


def _key(element: Any, paths: MemberPaths) -> str:
    key = clean_line(_first(element, paths.key), 1_000)
    if key:
        return key if len(key) <= 200 else digest_of(key)
    basis = _at(element, paths.key_of) if paths.key_of else []
    return digest_of(json.dumps(basis or element, sort_keys=True, default=str))[:16]


def _action(is_open: bool, left_out: str) -> Action:
    if is_open:
        return Action.OPEN
    return Action.CLOSE if left_out in {"", "0"} else Action.UPDATE


def _at(value: Any, path: str) -> list[Any]:
    return values_at(value, parse_path(path))


def _first(value: Any, paths: Sequence[str]) -> str:
    for path in paths:
        for found in _at(value, path):
            if text := text_of(found):
                return text
    return ""


def _highest(words: Any) -> str:
    found = {priority_of(word) or ("none" if word.lower() == "none" else "") for word in words}
    return next((priority for priority in PRIORITIES if priority in found), "")


def _newest(texts: Any, *, now: datetime) -> datetime | None:
    times = [time for text in texts if (time := parse_time(text, now=now)) is not None]
    return max(times, default=None)
