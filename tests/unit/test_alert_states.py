"""The alert's transition table."""

import pytest

from alerting.states import FINAL, LIVE, Action, Status, actions_from, step


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_final_alert_only_takes_notes(status):
    assert actions_from(status) == [Action.REPLY]


@pytest.mark.parametrize("status", sorted(LIVE))
def test_a_live_alert_can_always_be_closed_cancelled_and_assigned(status):
    assert step(status, Action.CLOSE) == Status.CLOSED
    assert step(status, Action.CANCEL) == Status.CANCELLED
    assert step(status, Action.ASSIGN) == Status.ASSIGNED


def test_only_assign_hold_close_and_cancel_leave_open():
    leaving = {action for action in Action if step(Status.OPEN, action) not in {Status.OPEN, None}}
    assert leaving == {Action.ASSIGN, Action.HOLD, Action.CLOSE, Action.CANCEL}


def test_a_resumed_alert_returns_to_its_owner_where_it_has_one():
    assert step(Status.ON_HOLD, Action.RESUME) == Status.OPEN
    assert step(Status.ON_HOLD, Action.RESUME, owned=True) == Status.ASSIGNED


def test_only_a_held_alert_can_be_resumed():
    assert [status for status in Status if step(status, Action.RESUME)] == [Status.ON_HOLD]


def test_an_owner_can_hand_the_alert_on():
    assert step(Status.ASSIGNED, Action.ESCALATE) == Status.OPEN


@pytest.mark.parametrize("status", sorted(LIVE))
def test_a_live_alert_can_be_reassigned_and_more_people_be_added_to_it(status):
    assert step(status, Action.REASSIGN, owned=True) == Status.OPEN
    assert step(status, Action.ADD_RESPONDERS, owned=True) == status
