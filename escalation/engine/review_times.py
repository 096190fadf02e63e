"""When an alert that was taken is looked at again, so that it is not forgotten (pure).

Times count from the last action of a person. Source: the domain's rule 6.3.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

# How long a person who is reminded has to answer before the alert opens again.
ANSWER_WITHIN: Final = timedelta(minutes=15)
# How long a person to whom somebody else assigned the alert has to do something before it opens again.
TAKE_WITHIN: Final = timedelta(minutes=10)
# An alert that nobody answers for does not page the others more often than this.
REOPEN_AT_MOST_EVERY: Final = timedelta(hours=1)


class Review(StrEnum):
    """What is done at the time of the review; see EscalationRun.Review."""

    REMIND = "remind"
    REOPEN = "reopen"
    HANDED = "handed"
    HOLD_ENDS = "hold_ends"


@dataclass(frozen=True, slots=True)
class Taken:
    """An alert as it stands: `stopped` says that its escalation notifies nobody, though the alert is not over.

    `handed` says that somebody else assigned it to its owner, who did nothing since. An alert that was made by hand is
    not `watched`: no missing ping shows that its cause lasts. `remind_after` 0: its owner is not reminded.
    """

    stopped: bool
    watched: bool
    handed: bool
    hold_until: datetime | None
    remind_after: timedelta
    reopened_at: datetime | None


def next_review(state: Taken, *, acted_at: datetime) -> tuple[Review, datetime] | None:
    """Return which review follows an action, and when; None if none does."""
    if not state.stopped:
        return None
    if state.hold_until is not None:
        return Review.HOLD_ENDS, state.hold_until
    if not state.watched:
        return None
    if state.handed:
        return Review.HANDED, reopen_at(acted_at + TAKE_WITHIN, reopened_at=state.reopened_at)
    return (Review.REMIND, acted_at + state.remind_after) if state.remind_after else None


def after_reminder(*, reminded_at: datetime, reopened_at: datetime | None) -> tuple[Review, datetime]:
    """Return which review follows a reminder that nobody answers, and when."""
    return Review.REOPEN, reopen_at(reminded_at + ANSWER_WITHIN, reopened_at=reopened_at)


def reopen_at(at: datetime, *, reopened_at: datetime | None) -> datetime:
    """Return when an alert that should open again at `at` may do so, if it last did at `reopened_at`."""
    return max(at, reopened_at + REOPEN_AT_MOST_EVERY) if reopened_at else at
