"""The ways in which people are told, by ContactMethod.kind."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from escalation.channels.base import Channel, DeliveryError, Message
from escalation.channels.email import EmailChannel

CHANNELS: dict[str, Callable[[], Channel]] = {"email": EmailChannel}


class Switchboard:
    """The channels of one round of deliveries, each opened when it is first needed."""

    def __init__(self) -> None:
        self._open: dict[str, Channel] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._open.values():
            channel.close()

    def send(self, name: str, message: Message) -> str:
        """Send over the channel of this name; raise DeliveryError when it fails or does not exist."""
        if name not in CHANNELS:
            raise DeliveryError(f"There is no channel named {name}.", permanent=True)
        if name not in self._open:
            self._open[name] = CHANNELS[name]()
        return self._open[name].send(message)
