"""What has to be done before it changes who is an active member of some groups.

Apps above this one keep what depends on members, and this one cannot import them: they say at start what they do, and
it is done in the transaction of the change, before it.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final, Protocol


class BeforeChange(Protocol):
    """Something that is done before it changes who is an active member of these groups."""

    def __call__(self, group_ids: Collection[int], *, now: datetime) -> None:
        """Do it."""


_TO_DO: Final[list[BeforeChange]] = []


def before_members_change(act: BeforeChange) -> None:
    """Have this done before each change from now on; saying it twice does it once."""
    if act not in _TO_DO:
        _TO_DO.append(act)


def members_will_change(group_ids: Collection[int], *, now: datetime) -> None:
    """Do what has to be done; the caller's transaction then makes the change."""
    for act in _TO_DO:
        act(group_ids, now=now)
