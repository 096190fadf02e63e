"""The nights in which alerts of low priority wait for the morning, by each person's own clock (pure)."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Final, Self

from heartbeat_project.kernel.weekly import DAYS, WeeklyWindow

NIGHT_BEGINS: Final = time(22)
# Alerts of these priorities may wait for the morning; those of higher priorities wake people.
MAY_WAIT: Final = frozenset({"low", "none"})


@dataclass(frozen=True, slots=True)
class Nights:
    """Every night from 22:00 until a time of day."""

    window: WeeklyWindow

    @classmethod
    def until(cls, ends: str | None) -> Self | None:
        """Return the nights that end at this time (HH:MM); None without one: then nothing waits."""
        return cls(WeeklyWindow.of(days=DAYS, starts=NIGHT_BEGINS, ends=ends)) if ends else None

    def morning(self, at: datetime, *, zone: tzinfo) -> datetime | None:
        """Return the end of the night in which the instant lies, by the clock of the zone; None by day."""
        nights = self.window.periods(at, at + timedelta(microseconds=1), zone)
        return next((ends for _, ends in nights), None)


def waits_until(priority: str, *, low_waits_until: time | None) -> str | None:
    """Return until when (HH:MM) alerts of this priority wait at night by the setting of a policy or play, if at all."""
    return f"{low_waits_until:%H:%M}" if low_waits_until is not None and priority in MAY_WAIT else None
