"""What people answer is understood when it is a command, and nothing else is acted upon."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.phone_keys import DIGITS
from alerting.states import Action
from escalation.responses.replies.parse_reply import WORDS, ParsedReply, parse_mail, parse_reply


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
        ("note: can't find the cause, who knows?", Action.REPLY, None, "can't find the cause, who knows?"),
        ("8 please", Action.ASSIGN, None, ""),
        ("ok 8", Action.ASSIGN, None, ""),
        ("8.", Action.ASSIGN, None, ""),
        ("8 on my way", Action.ASSIGN, None, "on my way"),
        ("8: on my way", Action.ASSIGN, None, "on my way"),
        ("8 55 on my way", Action.ASSIGN, 55, "on my way"),
        ("8 I'm on it", Action.ASSIGN, None, "I'm on it"),
        ("take it", Action.ASSIGN, None, ""),
        ("I take it", Action.ASSIGN, None, ""),
        ("take all", Action.ASSIGN, None, ""),
        ("yes", Action.ACKNOWLEDGE, None, ""),
        ("OK.", Action.ACKNOWLEDGE, None, ""),
        ("yes, ok", Action.ACKNOWLEDGE, None, ""),
        ("on it", Action.ACKNOWLEDGE, None, ""),
        ("i ack", Action.ACKNOWLEDGE, None, ""),
        ("I am on it", Action.ACKNOWLEDGE, None, ""),
        ("I'm on it.", Action.ACKNOWLEDGE, None, ""),
        ("ok, I\u2019m on it", Action.ACKNOWLEDGE, None, ""),
        ("im on it 55", Action.ACKNOWLEDGE, 55, ""),
        ("9: on my way", Action.CLOSE, None, "on my way"),
        ("acknowledged thanks", Action.ACKNOWLEDGE, None, ""),
        ("ack, thank you!", Action.ACKNOWLEDGE, None, ""),
        ("close #55 - fixed disk", Action.CLOSE, 55, "fixed disk"),
        ("#55 close", Action.CLOSE, 55, ""),
        ("yes!", Action.ACKNOWLEDGE, None, ""),
        ("ok, on it", Action.ACKNOWLEDGE, None, ""),
        ("8 - will look", Action.ASSIGN, None, "will look"),
        ("7 #55", Action.ACKNOWLEDGE, 55, ""),
        ("#55: 8", Action.ASSIGN, 55, ""),
        ("8 all", Action.ASSIGN, None, ""),
        ("closed, was a disk", Action.CLOSE, None, "was a disk"),
        ("Hi, please close 12", Action.CLOSE, 12, ""),
    ],
)
def test_commands(text, action, number, note):
    assert parse_reply(text) == ParsedReply(action, number=number, note=note)


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
        "8 servers down, can't take it",
        "8 on vacation, call Ben",
        "8 im asleep",
        "9 on my way",
        "9 working on it",
        "close i think",
        "8 servers down",
        "8 can't",
        "not 8",
        "9?",
        "don't close",
        "never mind 8",
        "8 or 9",
        "yes?",
        "ok no",
        "who takes it",
        "8, but not now",
        "8?",
        "8 thanks?",
        "close?",
        "close: is it over?",
        "ack - no, wait",
        "take care",
        "assign to Ben",
        "can you take it?",
        "I will close it",
        "9 10:30",
        "yes but who",
        "no",
        "8 don\u2019t know",
    ],
)
def test_what_is_no_command_is_nothing(text):
    assert parse_reply(text) is None


@pytest.mark.parametrize(
    "text",
    [
        f"7{' ' * 1_400}x",
        f"8{' ' * 1_000_000}x",
        "ok " * 300_000,
        "#" * 1_000_000,
        f"On {'a ' * 500_000}",
        "\ufdfa" * 1_000_000,  # one character that becomes eighteen
        f"{'“' * 500_000}8",
        "8 alert " * 100_000,
        "a" + "\u0301\u0316" * 500_000,  # marks that are put in order
        "hi i we " * 200_000,
    ],
)
def test_a_text_that_is_made_to_be_slow_is_read_at_once(text):
    begun = time.process_time()
    parse_reply(text)
    parse_mail(text)
    assert time.process_time() - begun < 0.2


def test_a_note_holds_nothing_that_cannot_be_stored_or_sent():
    assert parse_reply("note: a\ud800b\x00c") == ParsedReply(Action.REPLY, note="abc")


@given(st.text())
def test_any_text_is_a_reply_or_nothing(text):
    for reply in (parse_reply(text), parse_mail(text)):
        assert reply is None or (reply.action in DIGITS.values() or reply.note)


@given(
    st.sampled_from([*DIGITS, *(word for word in WORDS if WORDS[word] is not Action.REPLY)]),
    st.one_of(st.none(), st.integers(min_value=1, max_value=10**18 - 1)),
    st.sampled_from(["", ".", "!", " ", "\n"]),
    st.booleans(),
)
def test_every_command_with_any_number_is_understood_in_any_case(command, number, end, upper):
    text = command + (f" {number}" if number is not None else "") + end
    reply = parse_reply(text.upper() if upper else text)
    assert reply == ParsedReply(DIGITS.get(command) or WORDS[command], number=number)


@given(st.text(alphabet=st.characters(categories=["L", "N", "Zs"]), min_size=1))
def test_a_word_that_goes_on_is_no_command(more):
    found = parse_reply(f"close x{more}")
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
    assert parse_mail(text).action == action


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
    assert parse_mail(text) is None
