"""What a voice says: whole sentences without addresses, and numbers that can be written down."""

import pytest

from escalation.channels.speech import code_call, speakable, spell, voicemail

BASE = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            f"Mend or remove what does not work at {BASE}/profile/contact-methods/, or confirm it anew.",
            "Mend or remove what does not work at your contact methods page in Heartbeat, or confirm it anew.",
        ),
        (f"See {BASE}/alerts/7/.", "See the page of the alert in Heartbeat."),
        (f"See (“{BASE}/bundles/7/”)!", "See (“the page of these alerts in Heartbeat”)!"),
        (f"Open {BASE}", "Open Heartbeat"),
        (f"Look at {BASE}.evil.example/alerts/7/ now", "Look at a link now"),
        ("see https://wiki.example.com/runbook?a=b#c, please", "see a link, please"),
        ("order 123456 of #55: 12 left", "order 1, 2, 3, 4, 5, 6 of number 55: 12 left"),
        ("nothing to change: 12:30, 5 minutes", "nothing to change: 12:30, 5 minutes"),
    ],
)
def test_an_address_becomes_the_name_of_its_page_and_no_sentence_loses_a_word(written, said):
    assert speakable(written) == said


def test_a_code_is_said_sign_by_sign_and_twice():
    assert spell("188402") == "1. 8. 8. 4. 0. 2."
    assert code_call("188402", caller="Ana", minutes=30).count("1. 8. 8. 4. 0. 2.") == 2


def test_the_name_of_a_person_does_not_push_the_code_out_of_the_call():
    assert len(code_call("188402", caller="x" * 200, minutes=30)) <= 600


@pytest.mark.parametrize(
    ("subjects", "said"),
    [
        (["backup is silent"], "an alert for you, backup is silent: please look at your other messages."),
        (["a", "b"], "an alert for you, 2 alerts: please look at your other messages."),
        ([], "a message for you: please sign in to Heartbeat."),
    ],
)
def test_one_sentence_is_left_on_a_machine(subjects, said):
    assert voicemail(subjects).endswith(said)
