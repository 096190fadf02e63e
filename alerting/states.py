"""The alert's states and what moves it from one to the next (pure)."""

from enum import StrEnum


class Status(StrEnum):
    """Where an alert stands."""

    OPEN = "open"
    ASSIGNED = "assigned"
    ON_HOLD = "on_hold"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What a person, or a heartbeat, does to an alert."""

    ACKNOWLEDGE = "acknowledge"
    ASSIGN = "assign"
    ESCALATE = "escalate"
    HOLD = "hold"
    RESUME = "resume"
    CLOSE = "close"
    CANCEL = "cancel"
    REPLY = "reply"
    REASSIGN = "reassign"
    ADD_RESPONDERS = "responders"
    UNACKNOWLEDGE = "unacknowledge"
    GIVE_BACK = "give-back"


FINAL = frozenset({Status.CLOSED, Status.CANCELLED})
LIVE = frozenset(Status) - FINAL
STOPPED = LIVE - {Status.OPEN}  # not closed, and nobody else is told

_S, _A = Status, Action
TRANSITIONS: dict[tuple[Status, Action], Status] = {
    (_S.OPEN, _A.ACKNOWLEDGE): _S.OPEN,
    (_S.ASSIGNED, _A.ACKNOWLEDGE): _S.ASSIGNED,
    (_S.ON_HOLD, _A.ACKNOWLEDGE): _S.ON_HOLD,
    (_S.OPEN, _A.ASSIGN): _S.ASSIGNED,
    (_S.ASSIGNED, _A.ASSIGN): _S.ASSIGNED,
    (_S.ON_HOLD, _A.ASSIGN): _S.ASSIGNED,
    (_S.OPEN, _A.ESCALATE): _S.OPEN,
    # The owner cannot take it after all: the next people are notified now, or the walk goes on in its own time.
    (_S.ASSIGNED, _A.ESCALATE): _S.OPEN,
    (_S.ASSIGNED, _A.GIVE_BACK): _S.OPEN,
    (_S.OPEN, _A.HOLD): _S.ON_HOLD,
    (_S.ASSIGNED, _A.HOLD): _S.ON_HOLD,
    # Until another time.
    (_S.ON_HOLD, _A.HOLD): _S.ON_HOLD,
    # An alert that had an owner goes back to them, see `step`.
    (_S.ON_HOLD, _A.RESUME): _S.OPEN,
    # To other groups, or by another policy: the escalation begins anew there.
    **{(status, _A.REASSIGN): _S.OPEN for status in LIVE},
    # Whoever has the alert asks others for help, and keeps it.
    **{(status, _A.ADD_RESPONDERS): status for status in LIVE},
    **{(status, _A.UNACKNOWLEDGE): status for status in LIVE},
    **{(status, _A.CLOSE): _S.CLOSED for status in LIVE},
    **{(status, _A.CANCEL): _S.CANCELLED for status in LIVE},
    **{(status, _A.REPLY): status for status in Status},
}


def step(status: Status, action: Action, *, owned: bool = False) -> Status | None:
    """Return the status that `action` leads to, or None where it is not possible.

    `owned` says whether the alert has an owner, to whom a resumed alert returns.
    """
    if (status, action) == (Status.ON_HOLD, Action.RESUME) and owned:
        return Status.ASSIGNED
    return TRANSITIONS.get((status, action))


def actions_from(status: Status) -> list[Action]:
    """Return what can be done to an alert with this status, in the order of the enum."""
    return [action for action in Action if (status, action) in TRANSITIONS]
