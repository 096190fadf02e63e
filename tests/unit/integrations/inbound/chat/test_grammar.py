"""What texts in a chat ask for."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.states import Action
from integrations.inbound.chat.grammar import Kind, parse_command, parse_opening
from integrations.inbound.chat.slack import plain
from integrations.inbound.chat.wire import form, is_at, json_object


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", Kind.HELP),
        ("  Help! ", Kind.HELP),
        ("list", Kind.LIST),
        ("LIST.", Kind.LIST),
        ("list of failed jobs", Kind.OPEN),
        ("link", Kind.LINK),
        ("link is down", Kind.OPEN),
        ("who", Kind.WHO),
        ("who is on call?", Kind.WHO),
        ("who network", Kind.WHO),
        ("Disk full on db1", Kind.OPEN),
        ("8 servers down", Kind.OPEN),
        ("closed the valve too late", Kind.OPEN),
        ("open close the valve", Kind.OPEN),
        ("open: 7", Kind.OPEN),
        ("open", Kind.OPEN),
        ("ack 7", Kind.ACT),
        ("#7 close", Kind.ACT),
        ("close alert #7: cleaned", Kind.ACT),
        ("ack", Kind.ACT),
        ("close 7 but wait", Kind.UNCLEAR),
        ("ack 7?", Kind.UNCLEAR),
        ("#7 close but wait", Kind.UNCLEAR),
        ("#7 is down", Kind.OPEN),
        ("assign to me 7 if nobody has it", Kind.UNCLEAR),
    ],
)
def test_a_text_is_a_command_or_opens_or_is_in_doubt(text, kind):
    assert parse_command(text).kind is kind


@pytest.mark.parametrize(
    ("text", "action", "number", "note"),
    [
        ("ack 7", Action.ACKNOWLEDGE, 7, ""),
        ("assign 7", Action.ASSIGN, 7, ""),
        ("escalate 7", Action.ESCALATE, 7, ""),
        ("close 7: disk cleaned", Action.CLOSE, 7, "disk cleaned"),
        ("9 7", Action.CLOSE, 7, ""),
    ],
)
def test_actions_are_those_of_replies(text, action, number, note):
    reply = parse_command(text).reply
    assert reply is not None
    assert (reply.action, reply.number, reply.note) == (action, number, note)


def test_in_the_thread_of_an_alert_a_note_needs_no_number():
    assert parse_command("8 on my way").kind is Kind.UNCLEAR
    assert parse_command("8 on my way", in_thread=True).kind is Kind.ACT


def test_marks_are_taken_out_of_the_first_line_alone():
    opening = parse_opening("Disk !HIGH full #ops !low #7 !loud\n!critical #network")
    assert (opening.priority, opening.groups) == ("high", ("ops",))
    assert opening.text == "!critical #network"
    assert opening.without(frozenset({"ops"})) == "Disk full #7 !loud"
    assert opening.without(frozenset()) == "Disk full #ops #7 !loud"
    assert parse_opening("#ops").without(frozenset({"ops"})) == "#ops"


@given(st.text(max_size=200))
def test_no_text_is_a_fault(text):
    parse_command(text)
    parse_command(text, in_thread=True)
    parse_opening(text)
    plain(text)
    is_at(text, "https://slack.com")
    json_object(text)
    form(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "text",
    [
        "who" + " " * 20_000 + "x" * 200,
        "ack " + "1" * 20_000 + "x",
        "<" * 20_000,
        "<@U1|" * 4_000,
        "<" + "a" * 20_000,
        "!high " * 4_000,
        "#a" * 10_000,
    ],
)
def test_long_texts_cost_little(text):
    began = time.process_time()
    parse_command(text)
    parse_opening(text)
    plain(text)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("url", "there"),
    [
        ("https://hooks.slack.com/x", True),
        ("https://HOOKS.slack.com:443/x", True),
        ("https://hooks.slack.com.evil.org/x", False),
        ("http://hooks.slack.com/x", False),
        ("//hooks.slack.com/x", False),
        ("https://hooks.slack.com:x/", False),
        ("https://[::1", False),
    ],
)
def test_an_address_is_at_a_host_by_scheme_name_and_port(url, there):
    assert is_at(url, "https://hooks.slack.com") is there
