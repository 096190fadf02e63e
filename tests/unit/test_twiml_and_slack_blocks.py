"""What a call says and what Slack shows are well-formed, whatever the alert is called."""

import json
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from alerting.phone_keys import DIGITS
from alerting.states import Action
from escalation.channels import slack_blocks, twiml

ALL = tuple(DIGITS.values())
anything = st.text(alphabet=st.characters())


@given(anything, anything, anything)
def test_a_menu_can_be_read_whatever_it_says(text, said, name):
    line = twiml.ConferenceLine(number=f"+49 30 {name}", code=f"47{name}#")
    for document in (
        twiml.menu(text, answer_to=f"https://x.example/{name}?a&b", actions=ALL, line=line, before=said),
        twiml.farewell(said),
        twiml.twice(said),
        twiml.left_on_a_machine(said),
        twiml.connect(line),
        twiml.text_message(text),
    ):
        assert ET.fromstring(document).tag == "Response"


def test_a_menu_offers_what_is_offered_and_nothing_else():
    document = twiml.menu("backup is silent.", answer_to="https://x/", actions=[Action.ASSIGN])
    assert "Press 8 to assign it to you." in document
    assert "Press 1 to hear this again." in document
    for key in ("6", "7", "9", "0"):
        assert f"Press {key}" not in document
    everything = twiml.menu("x", answer_to="https://x/", actions=ALL, line=twiml.ConferenceLine("+4930"))
    assert [f"Press {key}" in everything for key in "167890"] == [True] * 6


def test_a_conference_is_dialled_with_its_code():
    dial = ET.fromstring(twiml.connect(twiml.ConferenceLine("+49 30 123-45", code="47 11#"))).find("Dial/Number")
    assert (dial.text, dial.get("sendDigits")) == ("+493012345", "wwww4711#")


def pressed(**changes):
    sent = {
        "type": "block_actions",
        "user": {"id": "U0ANA"},
        "response_url": "https://hooks.slack.com/actions/T/1/x",
        "actions": [{"action_id": "heartbeat.assign", "value": "token"}],
    }
    return json.dumps(sent | changes)


def test_a_pressed_button_names_what_the_message_was_made_with():
    shown = slack_blocks.blocks(
        "text", token="token", page="https://x/r/token", actions=[(Action.ASSIGN, "Assign to me")]
    )
    button = shown[1]["elements"][0]
    press = slack_blocks.read_press(pressed(actions=[button]))
    assert press == slack_blocks.Press("token", Action.ASSIGN, "U0ANA", "https://hooks.slack.com/actions/T/1/x")


def test_an_answer_goes_to_slack_alone():
    for address in (
        "https://evil.example/",
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.evil.example/",
        None,
        7,
    ):
        assert slack_blocks.read_press(pressed(response_url=address)).answer_at == ""


def test_what_is_no_press_of_ours_is_nothing():
    for sent in (
        pressed(type="view_submission"),
        pressed(actions=[]),
        pressed(actions=None),
        pressed(actions=["x"]),
        pressed(actions=[{"action_id": "assign", "value": "t"}]),
        pressed(actions=[{"action_id": "heartbeat.page", "value": "t"}]),
        pressed(actions=[{"action_id": "heartbeat.assign", "value": None}]),
        "[]",
        "",
        "{",
        "[" * 100_000,
    ):
        assert slack_blocks.read_press(sent) is None


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
)


@given(st.one_of(st.text(), st.builds(json.dumps, json_values), st.builds(lambda v: pressed(actions=v), json_values)))
def test_no_payload_is_a_fault(payload):
    assert slack_blocks.read_press(payload) is None
