"""Signatures of providers, by their own documentation; and nothing else passes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from escalation.channels.signatures import is_from_slack, is_from_twilio, slack_signature, twilio_signature

# The example of Twilio's documentation ("Webhooks security").
TWILIO_URL = "https://example.com/myapp.php?foo=1&bar=2"
TWILIO_FIELDS = {
    "CallSid": ["CA1234567890ABCDE"],
    "Caller": ["+14158675310"],
    "Digits": ["1234"],
    "From": ["+14158675310"],
    "To": ["+18005551212"],
}
# The example of Slack's documentation ("Verifying requests from Slack").
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_STAMP = "1531420618"
SLACK_NOW = datetime.fromtimestamp(1531420618, tz=UTC)


def test_the_example_in_twilios_documentation():
    assert twilio_signature(TWILIO_URL, TWILIO_FIELDS, token="12345") == "L/OH5YylLD5NRKLltdqwSvS0BnU="
    assert is_from_twilio("L/OH5YylLD5NRKLltdqwSvS0BnU=", url=TWILIO_URL, fields=TWILIO_FIELDS, token="12345")


def test_the_example_in_slacks_documentation():
    signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert slack_signature(SLACK_BODY, timestamp=SLACK_STAMP, secret=SLACK_SECRET) == signature
    known = {"body": SLACK_BODY, "timestamp": SLACK_STAMP, "secret": SLACK_SECRET}
    assert is_from_slack(signature, **known, now=SLACK_NOW)
    assert is_from_slack(signature, **known, now=SLACK_NOW + timedelta(minutes=5))
    assert not is_from_slack(signature, **known, now=SLACK_NOW + timedelta(minutes=5, seconds=1))
    assert not is_from_slack(signature, **known, now=SLACK_NOW - timedelta(minutes=5, seconds=1))


def test_without_a_secret_nobody_signed():
    assert not is_from_twilio(twilio_signature(TWILIO_URL, {}, token=""), url=TWILIO_URL, fields={}, token="")
    signature = slack_signature(b"", timestamp=SLACK_STAMP, secret="")
    assert not is_from_slack(signature, body=b"", timestamp=SLACK_STAMP, secret="", now=SLACK_NOW)


def test_one_changed_field_breaks_the_signature():
    signature = twilio_signature(TWILIO_URL, TWILIO_FIELDS, token="12345")
    for changed in ({"Digits": ["9"]}, {"Extra": ["1"]}):
        assert not is_from_twilio(signature, url=TWILIO_URL, fields=TWILIO_FIELDS | changed, token="12345")
    assert not is_from_twilio(signature, url=TWILIO_URL + "&x", fields=TWILIO_FIELDS, token="12345")


@given(st.text(), st.text(), st.binary())
def test_no_text_passes_for_a_signature_or_breaks_the_check(signature, stamp, body):
    assert not is_from_twilio(signature, url=TWILIO_URL, fields=TWILIO_FIELDS, token="another")
    assert not is_from_slack(signature, body=body, timestamp=stamp, secret=SLACK_SECRET, now=SLACK_NOW)
