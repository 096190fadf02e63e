"""What messages offer: everything everywhere, unless a policy withholds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import ContactMethod
from escalation.channels import CHANNELS as WAYS
from escalation.offers import ACTIONS, CHANNELS, matrix, offered, withholding

ALL = [action.value for action in ACTIONS]


def test_everything_is_offered_everywhere_unless_something_is_withheld():
    assert ALL == ["acknowledge", "assign", "escalate", "close"]
    assert matrix([]) == dict.fromkeys(CHANNELS, ALL)
    assert withholding({}) == []


def test_a_policy_can_say_what_is_offered_over_each_way_in_which_people_are_told():
    assert list(CHANNELS) == ContactMethod.Kind.values
    assert set(CHANNELS) == set(WAYS)


def test_a_channel_that_is_left_out_stays_as_it_was():
    before = withholding({"sms": ["assign"]})
    after = withholding({"voice": []}, before=before)
    assert matrix(after) == dict.fromkeys(CHANNELS, ALL) | {"sms": ["assign"], "voice": []}


def test_a_channel_that_comes_later_offers_everything():
    assert list(offered(withholding({channel: [] for channel in CHANNELS}), "carrier-pigeon")) == ALL


def test_what_does_not_exist_is_refused():
    with pytest.raises(KeyError, match="telex"):
        withholding({"telex": ALL})
    with pytest.raises(ValueError, match="cancel"):
        withholding({"email": ["cancel"]})


@given(offers=st.dictionaries(st.sampled_from(sorted(CHANNELS)), st.sets(st.sampled_from(ALL))))
def test_what_is_said_is_what_is_offered(offers):
    shown = matrix(withholding(offers))
    for channel in CHANNELS:
        assert set(shown[channel]) == set(offers.get(channel, ALL))
