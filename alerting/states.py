"""The state machine of an alert: its states, the actions, and the transitions (pure)."""

from enum import StrEnum


class Status(StrEnum):
    """The state of an alert."""

    OPEN = "open"
    ASSIGNED = "assigned"
    ON_HOLD = "on_hold"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What a person or a heartbeat does to an alert."""

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
STOPPED = LIVE - {Status.OPEN}  # somebody has the alert or has paused it, so the escalation does not go on

_S, _A = Status, Action
TRANSITIONS: dict[tuple[Status, Action], Status] = {
    (_S.OPEN, _A.ACKNOWLEDGE): _S.OPEN,
    (_S.ASSIGNED, _A.ACKNOWLEDGE): _S.ASSIGNED,
    (_S.ON_HOLD, _A.ACKNOWLEDGE): _S.ON_HOLD,
    (_S.OPEN, _A.ASSIGN): _S.ASSIGNED,
    (_S.ASSIGNED, _A.ASSIGN): _S.ASSIGNED,
    (_S.ON_HOLD, _A.ASSIGN): _S.ASSIGNED,
    (_S.OPEN, _A.ESCALATE): _S.OPEN,
    # The owner hands the alert on: the next people are notified at once (escalate) or at their time (give back).
    (_S.ASSIGNED, _A.ESCALATE): _S.OPEN,
    (_S.ASSIGNED, _A.GIVE_BACK): _S.OPEN,
    (_S.OPEN, _A.HOLD): _S.ON_HOLD,
    (_S.ASSIGNED, _A.HOLD): _S.ON_HOLD,
    # The hold gets another end.
    (_S.ON_HOLD, _A.HOLD): _S.ON_HOLD,
    # If the alert has an owner, it becomes assigned again instead; see `step`.
    (_S.ON_HOLD, _A.RESUME): _S.OPEN,
    # The escalation starts again, with other groups or another policy.
    **{(status, _A.REASSIGN): _S.OPEN for status in LIVE},
    # More people are asked for help; the alert keeps its owner and its state.
    **{(status, _A.ADD_RESPONDERS): status for status in LIVE},
    **{(status, _A.UNACKNOWLEDGE): status for status in LIVE},
    **{(status, _A.CLOSE): _S.CLOSED for status in LIVE},
    **{(status, _A.CANCEL): _S.CANCELLED for status in LIVE},
    **{(status, _A.REPLY): status for status in Status},
}


def step(status: Status, action: Action, *, owned: bool = False) -> Status | None:
    """Return the status after `action`, or None if the action is not allowed in this status.

    `owned` says whether the alert has an owner; a resumed alert returns to them.
    """
    if (status, action) == (Status.ON_HOLD, Action.RESUME) and owned:
        return Status.ASSIGNED
    return TRANSITIONS.get((status, action))


def actions_from(status: Status) -> list[Action]:
    """Return the actions that are allowed in this status, in the order of the enum."""
    return [action for action in Action if (status, action) in TRANSITIONS]
