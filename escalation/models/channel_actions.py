"""Which actions a message over a channel allows (pure): all of them, except those that the policy disables.

Disabled actions are stored, each as `channel:action`, so that a channel that is added later allows everything, too.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from accounts.contact_kinds import CONTACT_KINDS
from alerting.states import Action

ACTIONS: Final = (Action.ACKNOWLEDGE, Action.ASSIGN, Action.ESCALATE, Action.CLOSE)
CHANNELS: Final = {kind.code: kind.action_label for kind in CONTACT_KINDS.values()}


def allowed_over(disabled_actions: Collection[str], channel: str) -> tuple[Action, ...]:
    """Return the actions that a message over this channel allows, in the order in which they are shown."""
    return tuple(action for action in ACTIONS if pair(channel, action) not in disabled_actions)


def matrix(disabled_actions: Collection[str]) -> dict[str, list[str]]:
    """Return the allowed actions of each channel."""
    return {channel: [action.value for action in allowed_over(disabled_actions, channel)] for channel in CHANNELS}


def to_disabled_actions(allowed_actions: Mapping[str, Iterable[str]], *, before: Collection[str] = ()) -> list[str]:
    """Return the disabled actions if channels allow just these; a channel that is left out stays as it was `before`.

    Raises KeyError for a channel that does not exist, and ValueError for an action that no message allows.
    """
    for channel, actions in allowed_actions.items():
        if channel not in CHANNELS:
            raise KeyError(channel)
        for action in actions:
            if action not in ACTIONS:
                raise ValueError(action)
    allowed = {channel: set(allowed_actions.get(channel, allowed_over(before, channel))) for channel in CHANNELS}
    return [pair(channel, action) for channel in CHANNELS for action in ACTIONS if action not in allowed[channel]]


def pair(channel: str, action: str) -> str:
    """Return the entry of `disabled_actions` that disables the action over this channel."""
    return f"{channel}:{action}"
