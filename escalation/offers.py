"""What a message offers over which channel (pure): every action everywhere, but for what a policy withholds.

What is withheld is kept as `channel:action`, so that a channel that comes later offers everything, too.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from alerting.states import Action

ACTIONS: Final = (Action.ACKNOWLEDGE, Action.ASSIGN, Action.ESCALATE, Action.CLOSE)
CHANNELS: Final = {
    "email": "E-mail",
    "sms": "SMS",
    "voice": "Voice",
    "push": "Push",
    "chat": "Chat",
    "webhook": "Webhook",
    "apprise": "Apprise",
}


def offered(withheld: Collection[str], channel: str) -> tuple[Action, ...]:
    """Return the actions that a message over this channel offers, in the order in which they are shown."""
    return tuple(action for action in ACTIONS if _pair(channel, action) not in withheld)


def matrix(withheld: Collection[str]) -> dict[str, list[str]]:
    """Return what each channel offers."""
    return {channel: [action.value for action in offered(withheld, channel)] for channel in CHANNELS}


def withholding(offers: Mapping[str, Iterable[str]], *, before: Collection[str] = ()) -> list[str]:
    """Return what is withheld when channels offer just these actions; a channel that is left out stays as `before`.

    Raises KeyError for a channel that does not exist, and ValueError for an action that no message offers.
    """
    for channel, actions in offers.items():
        if channel not in CHANNELS:
            raise KeyError(channel)
        for action in actions:
            if action not in ACTIONS:
                raise ValueError(action)
    kept = {channel: set(offers.get(channel, offered(before, channel))) for channel in CHANNELS}
    return [_pair(channel, action) for channel, actions in kept.items() for action in ACTIONS if action not in actions]


def _pair(channel: str, action: str) -> str:
    return f"{channel}:{action}"
