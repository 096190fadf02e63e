"""When an alert that was taken is looked at again, so that it is not forgotten (pure).

Times count from the last action of a person. Source: the domain's rule 6.3.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

# So long whoever is reminded has to answer, and whoever an alert was assigned to by somebody else to do something.
ANSWER_WITHIN: Final = timedelta(minutes=15)
TAKE_WITHIN: Final = timedelta(minutes=10)
REOPEN_AT_MOST_EVERY: Final = timedelta(hours=1)


class Review(StrEnum):
    """What is done then."""

    REMIND = "remind"
    REOPEN = "reopen"
    HANDED = "handed"
    HOLD_ENDS = "hold_ends"


@dataclass(frozen=True, slots=True)
class Taken:
    """An alert as it stands: `stopped` says that nobody is notified of it by itself, though it is not over.

    `handed` says that somebody else assigned it to its owner, who did nothing since. An alert that was made by hand is
    not `watched`: no silence says that it lasts.
    """

    stopped: bool
    watched: bool
    handed: bool
    hold_until: datetime | None
    remind_after: timedelta
    reopened_at: datetime | None


def next_review(taken: Taken, *, acted_at: datetime) -> tuple[Review, datetime] | None:
    """Return what comes next after an action, and when; None when nothing is to come by itself."""
    if not taken.stopped:
        return None
    if taken.hold_until is not None:
        return Review.HOLD_ENDS, taken.hold_until
    if not taken.watched:
        return None
    if taken.handed:
        return Review.HANDED, reopen_at(acted_at + TAKE_WITHIN, reopened_at=taken.reopened_at)
    return (Review.REMIND, acted_at + taken.remind_after) if taken.remind_after else None


def after_reminder(*, reminded_at: datetime, reopened_at: datetime | None) -> tuple[Review, datetime]:
    """Return what comes after a reminder that nobody answers."""
    return Review.REOPEN, reopen_at(reminded_at + ANSWER_WITHIN, reopened_at=reopened_at)


def reopen_at(at: datetime, *, reopened_at: datetime | None) -> datetime:
    """Return when an alert may be opened again, if it was to be at that moment."""
    return max(at, reopened_at + REOPEN_AT_MOST_EVERY) if reopened_at else at
