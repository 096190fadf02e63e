"""How much work templates and conditions may be: counted as they go, so that no event costs more than its share."""

from typing import Final

# A unit is about 10 ns: a character that is read, or a part of a step that costs more.
TEMPLATE_LIMIT: Final = 2_000_000
RULE_LIMIT: Final = 3_000_000
EVENT_LIMIT: Final = 20_000_000
# Units for a character of JSON, read or written.
JSON_COST: Final = 20


class OutOfWorkError(ValueError):
    """The templates and conditions need too much work with this event."""

    def __init__(self) -> None:
        super().__init__("It is too much work with this event: the values are too long, or there are too many of them.")


class Work:
    """What is left of a limit, and of the larger limit that this one is a part of."""

    __slots__ = ("left", "whole")

    def __init__(self, limit: int = EVENT_LIMIT, *, whole: "Work | None" = None) -> None:
        self.left = limit
        self.whole = whole

    def spend(self, units: int) -> None:
        """Take the units from what is left. Raises OutOfWorkError if there are not as many."""
        self.left -= units
        if self.whole is not None:
            self.whole.spend(units)
        if self.left < 0:
            raise OutOfWorkError

    def reserve(self, units: int) -> None:
        """Raise OutOfWorkError if there are not as many units left; they are not taken."""
        if self.left < units:
            raise OutOfWorkError
        if self.whole is not None:
            self.whole.reserve(units)
