"""Deadlines, as one formula (pure)."""

from datetime import datetime
from decimal import Decimal

from heartbeat_project.kernel.durations import minutes


def deadline(armed_at: datetime, *, interval_minutes: Decimal, grace_minutes: Decimal) -> datetime:
    """Return when a heartbeat armed at `armed_at` is missed: armed_at + interval + grace."""
    return armed_at + minutes(interval_minutes) + minutes(grace_minutes)
