"""Links and reply addresses stand for a message only as long as they are exactly what was signed."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation import links

ID = uuid.UUID("11111111-2222-4333-8444-555555555555")


@given(st.uuids())
def test_a_link_stands_for_its_message_and_fits_an_sms(message_id):
    token = links.token(message_id)
    assert len(token) == 38
    assert links.read_token(token) == message_id


@given(st.uuids())
def test_what_is_signed_for_a_button_is_no_link_and_the_other_way_round(message_id):
    button = links.button(message_id)
    assert links.read_button(button) == message_id
    assert links.read_token(button) is None
    assert links.read_button(links.token(message_id)) is None


@pytest.mark.parametrize("place", range(37))
def test_one_changed_sign_makes_it_nobodys(place):
    token = links.token(ID)
    other = "A" if token[place] != "A" else "B"
    assert links.read_token(token[:place] + other + token[place + 1 :]) is None


@given(st.text())
def test_any_text_is_no_token(text):
    assert links.read_token(text) is None
    assert links.read_address(text) is None


def test_another_key_signs_other_links_and_a_former_one_still_counts_while_it_is_named(settings):
    token = links.token(ID)
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert links.read_token(token) is None
    settings.SECRET_KEY_FALLBACKS = [former]
    assert links.read_token(token) == ID


def test_an_address_stands_for_its_message_in_any_case(settings):
    settings.REPLY_ADDRESS = "alerts@reply.example.org"
    address = links.reply_address(ID)
    assert len(address.partition("@")[0]) <= 64
    for text in (address, address.upper(), f"Heartbeat <{address}>", f"x@example.com, {address}"):
        assert links.read_address(text) == ID


def test_a_link_is_no_address_and_an_address_no_link(settings):
    settings.REPLY_ADDRESS = "alerts@reply.example.org"
    tag = links.reply_address(ID).partition("+")[2].partition("@")[0]
    assert links.read_token(tag) is None
    assert links.read_address(f"alerts+{links.token(ID)}@reply.example.org") is None


def test_without_an_address_there_is_none(settings):
    settings.REPLY_ADDRESS = ""
    assert links.reply_address(ID) == ""
