"""Allowed actions in messages: everything everywhere, unless a policy withholds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models.contact_methods import ContactMethod
from escalation.models.channel_actions import ACTIONS, CHANNELS, allowed_over, matrix, to_disabled_actions
from escalation.notifications.providers.channel_pool import CHANNELS as WAYS

ALL = [action.value for action in ACTIONS]


def test_everything_is_offered_everywhere_unless_something_is_disabled():
    assert ALL == ["acknowledge", "assign", "escalate", "close"]
    assert matrix([]) == dict.fromkeys(CHANNELS, ALL)
    assert to_disabled_actions({}) == []


def test_a_policy_can_say_what_is_offered_over_each_way_in_which_people_are_notified():
    assert list(CHANNELS) == ContactMethod.Kind.values
    assert set(CHANNELS) == set(WAYS)


def test_a_channel_that_is_left_out_stays_as_it_was():
    before = to_disabled_actions({"sms": ["assign"]})
    after = to_disabled_actions({"voice": []}, before=before)
    assert matrix(after) == dict.fromkeys(CHANNELS, ALL) | {"sms": ["assign"], "voice": []}


def test_a_channel_that_comes_later_offers_everything():
    assert list(allowed_over(to_disabled_actions({channel: [] for channel in CHANNELS}), "carrier-pigeon")) == ALL


def test_what_does_not_exist_is_refused():
    with pytest.raises(KeyError, match="telex"):
        to_disabled_actions({"telex": ALL})
    with pytest.raises(ValueError, match="cancel"):
        to_disabled_actions({"email": ["cancel"]})


@given(allowed_actions=st.dictionaries(st.sampled_from(sorted(CHANNELS)), st.sets(st.sampled_from(ALL))))
def test_what_is_said_is_what_is_offered(allowed_actions):
    shown = matrix(to_disabled_actions(allowed_actions))
    for channel in CHANNELS:
        assert set(shown[channel]) == set(allowed_actions.get(channel, ALL))
