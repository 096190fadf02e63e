"""The one reader of the clock."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present instant, aware, in UTC; read it once at the edge and hand it down as `now`."""
    return datetime.now(UTC)  # noqa: TID251 - this is the one place
