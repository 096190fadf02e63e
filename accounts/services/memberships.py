"""Hooks that run before the active members of groups change.

Apps above this one store data that depends on members, and this app cannot import them. So they register a hook at
start, and it runs in the transaction of each change, before the change.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final, Protocol


class BeforeChange(Protocol):
    """A hook that runs before the active members of some groups change."""

    def __call__(self, group_ids: Collection[int], *, now: datetime) -> None:
        """Run the hook within the transaction of the change."""


_HOOKS: Final[list[BeforeChange]] = []


def before_members_change(hook: BeforeChange) -> None:
    """Register a hook; a second registration of the same hook has no effect."""
    if hook not in _HOOKS:
        _HOOKS.append(hook)


def members_will_change(group_ids: Collection[int], *, now: datetime) -> None:
    """Run all hooks. The caller makes the change afterwards, in the same transaction."""
    for hook in _HOOKS:
        hook(group_ids, now=now)
