"""Links and reply addresses stand for a message only as long as they are exactly what was signed."""

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.responses import tokens

ID = uuid.UUID("11111111-2222-4333-8444-555555555555")


@given(st.uuids())
def test_a_link_stands_for_its_message_and_fits_an_sms(message_id):
    token = tokens.token(message_id)
    assert len(token) == 38
    assert tokens.read_token(token) == message_id


@given(st.uuids())
def test_what_is_signed_for_a_button_is_no_link_and_the_other_way_round(message_id):
    button = tokens.button(message_id)
    assert tokens.read_button(button) == message_id
    assert tokens.read_token(button) is None
    assert tokens.read_button(tokens.token(message_id)) is None


@pytest.mark.parametrize("place", range(37))
def test_one_changed_sign_makes_it_nobodys(place):
    token = tokens.token(ID)
    other = "A" if token[place] != "A" else "B"
    assert tokens.read_token(token[:place] + other + token[place + 1 :]) is None


@given(st.text())
def test_any_text_is_no_token(text):
    assert tokens.read_token(text) is None
    assert tokens.read_address(text) is None


def test_another_key_signs_other_links_and_a_former_one_still_counts_while_it_is_named(settings):
    token = tokens.token(ID)
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert tokens.read_token(token) is None
    settings.SECRET_KEY_FALLBACKS = [former]
    assert tokens.read_token(token) == ID


def test_an_address_stands_for_its_message_in_any_case(settings):
    settings.REPLY_ADDRESS = "alerts@reply.example.org"
    address = tokens.reply_address(ID)
    assert len(address.partition("@")[0]) <= 64
    for text in (address, address.upper(), f"Heartbeat <{address}>", f"x@example.com, {address}"):
        assert tokens.read_address(text) == ID


def test_a_link_is_no_address_and_an_address_no_link(settings):
    settings.REPLY_ADDRESS = "alerts@reply.example.org"
    tag = tokens.reply_address(ID).partition("+")[2].partition("@")[0]
    assert tokens.read_token(tag) is None
    assert tokens.read_address(f"alerts+{tokens.token(ID)}@reply.example.org") is None


def test_without_an_address_there_is_none(settings):
    settings.REPLY_ADDRESS = ""
    assert tokens.reply_address(ID) == ""


@pytest.mark.parametrize(
    "header",
    [
        "a" * 40_000,
        "a" * 1_000_000,
        "a+" * 500_000,
        "+" * 1_000_000,
        "a+a@" * 250_000,
        "@" * 1_000_000,
        "(" * 1_000_000,
        f"a+{'a' * 45}@x," * 20_000,
        " a+" * 300_000,
        "\ud800" * 100_000,
    ],
    ids=lambda header: header[:9],
)
def test_no_header_takes_long_to_look_through(header):
    begun = time.process_time()
    assert tokens.read_address(header) is None
    assert time.process_time() - begun < 0.2


def test_the_address_is_found_among_many_and_behind_other_tags(settings):
    settings.REPLY_ADDRESS = "alerts@reply.example.org"
    address = tokens.reply_address(ID)
    others = ", ".join(f'"Person {number}" <person+{number}@example.com>' for number in range(1_000))
    assert tokens.read_address(f"{others}, {address}") == ID
    assert tokens.read_address(f"(Heartbeat){address};") == ID
    assert tokens.read_address(f"mailto:{address}") == ID
    assert tokens.read_address(f"x+{'a' * 45}@example.com {address}") == ID
