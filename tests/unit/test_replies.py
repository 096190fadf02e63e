"""What people answer is understood when it is a command, and nothing else is acted upon."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.states import Action
from escalation.replies import DIGITS, WORDS, Reply, read_mail, read_reply


@pytest.mark.parametrize(
    ("text", "action", "number", "note"),
    [
        ("6", Action.ESCALATE, None, ""),
        ("7", Action.ACKNOWLEDGE, None, ""),
        ("8", Action.ASSIGN, None, ""),
        ("9", Action.CLOSE, None, ""),
        (" 7 \n", Action.ACKNOWLEDGE, None, ""),
        ("7 123", Action.ACKNOWLEDGE, 123, ""),
        ("7#123", Action.ACKNOWLEDGE, 123, ""),
        ("ACK", Action.ACKNOWLEDGE, None, ""),
        ("Acknowledged!", Action.ACKNOWLEDGE, None, ""),
        ("escalate alert #5", Action.ESCALATE, 5, ""),
        ("Assign to  me", Action.ASSIGN, None, ""),
        ("assign me 5", Action.ASSIGN, 5, ""),
        ("mine.", Action.ASSIGN, None, ""),
        ("“8”", Action.ASSIGN, None, ""),
        ("\uff18", Action.ASSIGN, None, ""),
        ("\u200b9\u200f", Action.CLOSE, None, ""),
        ("close 12: disk was full", Action.CLOSE, 12, "disk was full"),
        ("close, it was a test", Action.CLOSE, None, "it was a test"),
        ("close 12\nthanks\nBen", Action.CLOSE, 12, "thanks\nBen"),
        ("note 12: on my way", Action.REPLY, 12, "on my way"),
    ],
)
def test_commands(text, action, number, note):
    assert read_reply(text) == Reply(action, number=number, note=note)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "12",
        "71",
        "7 of them are down",
        "close to finding it",
        "8 please do not",
        "9:30",
        "9 30 am",
        "7-8",
        "7,8",
        "7.5",
        "I will not close it",
        "note",
        "note:",
        "#7",
        "5",
        "unacknowledged",
        "closer",
        "STOP",
    ],
)
def test_what_is_no_command_is_nothing(text):
    assert read_reply(text) is None


@given(st.text())
def test_any_text_is_a_reply_or_nothing(text):
    for reply in (read_reply(text), read_mail(text)):
        assert reply is None or (reply.action in DIGITS.values() or reply.note)


@given(
    st.sampled_from([*DIGITS, *(word for word in WORDS if WORDS[word] is not Action.REPLY)]),
    st.one_of(st.none(), st.integers(min_value=1, max_value=10**18 - 1)),
    st.sampled_from(["", ".", "!", " ", "\n"]),
    st.booleans(),
)
def test_every_command_with_any_number_is_understood_in_any_case(command, number, end, upper):
    text = command + (f" {number}" if number is not None else "") + end
    reply = read_reply(text.upper() if upper else text)
    assert reply == Reply(DIGITS.get(command) or WORDS[command], number=number)


@given(st.text(alphabet=st.characters(categories=["L", "N", "Zs"]), min_size=1))
def test_a_word_that_goes_on_is_no_command(more):
    found = read_reply(f"close x{more}")
    assert found is None


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("ack\n\nOn Mon, 2 Mar 2026 Heartbeat wrote:\n> close", Action.ACKNOWLEDGE),
        ("\n \nClose: fixed\n-- \nAna", Action.CLOSE),
        ("Acknowledge\r\n\r\nSent from my phone", Action.ACKNOWLEDGE),
    ],
)
def test_the_first_line_of_a_mail_counts(text, action):
    assert read_mail(text).action == action


@pytest.mark.parametrize(
    "text",
    [
        "> close",
        "On Mon, 2 Mar 2026 Heartbeat wrote:\n> close\nclose",
        "Thank you!\nclose",
        "-- \nclose",
        "-----Original Message-----\nclose",
        "",
    ],
)
def test_what_a_mail_quotes_or_says_further_down_is_not_acted_upon(text):
    assert read_mail(text) is None
