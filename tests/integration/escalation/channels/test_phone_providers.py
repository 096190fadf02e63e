"""SMS and calls over the wire: Twilio, the gateway behind it, and never the same message twice."""

from datetime import timedelta

import pytest

from escalation.channels.base import DeliveryError
from escalation.notifications.providers import phone
from escalation.notifications.providers.channel_pool import ChannelPool
from tests.providers.server import GARBAGE, HALF, HANG_UP, SILENCE, answer

pytestmark = pytest.mark.django_db
ANA = "+4915112345678"


def send(kind, message):
    with ChannelPool() as channel_pool:
        return channel_pool.send(kind, message)


def failure(kind, message):
    with pytest.raises(DeliveryError) as caught:
        send(kind, message)
    return caught.value


def judged(error):
    return error.permanent, error.uncertain


def test_an_sms_is_short_and_ends_with_the_link(twilio, message):
    assert send("sms", message(ANA)) == "SM" + "1".zfill(32)
    form = twilio.requests[0].form
    assert (form["To"], form["From"]) == (ANA, "+15550001111")
    assert form["Body"] == (
        "High #7: backup is silent. Expected every 5 minutes, last ping 11:55 UTC on 02 Mar. "
        "https://heartbeat.example.org/alerts/7/"
    )
    assert form["StatusCallback"] == (
        "https://heartbeat.example.org/api/v1/provider-callbacks/twilio/00000000-0000-0000-0000-000000000005/"
    )


def test_a_long_text_is_cut_and_its_link_is_not(twilio, message):
    notification = message(ANA, about={"short_text": "x" * 2_000})
    send("sms", notification)
    body = twilio.requests[0].form["Body"]
    assert len(body) == 300
    assert body.endswith("x… https://heartbeat.example.org/alerts/7/")


def test_a_messaging_service_sends_in_the_place_of_a_number(twilio, message, settings):
    settings.TWILIO_FROM = "MG" + "1" * 32
    send("sms", message(ANA))
    assert twilio.requests[0].form["MessagingServiceSid"] == settings.TWILIO_FROM
    assert "From" not in twilio.requests[0].form


@pytest.mark.parametrize(
    "base",
    ["http://127.0.0.1:8000", "http://localhost:8000", "http://10.0.0.1", "https://hb.local", "http://[::1]:8000"],
)
def test_nothing_is_to_be_reported_to_where_twilio_cannot_come(twilio, message, settings, base):
    settings.BASE_URL = base
    send("sms", message(ANA))
    assert "StatusCallback" not in twilio.requests[0].form


def test_a_call_says_it_twice_reads_no_address_out_and_cannot_be_made_to_do_more(twilio, message):
    notification = message(ANA, about={"short_text": "a</Say><Dial>+1900</Dial> & code 123456 https://evil.example/x"})
    assert send("voice", notification).startswith("CA")
    form = twilio.requests[0].form
    said = "<Say>High. Alert 7. a&lt;/Say&gt;&lt;Dial&gt;+1900&lt;/Dial&gt; &amp; code 1, 2, 3, 4, 5, 6 a link. This call is for Ana.</Say>"
    assert form["Twiml"].endswith(f'<Response><Pause length="1"/>{said}<Pause length="1"/>{said}</Response>')


def test_what_twilio_says_about_a_refusal_is_kept_with_its_code(twilio, message):
    error = failure("sms", message("nowhere"))
    assert judged(error) == (True, False)
    assert str(error) == "Twilio: 400: Invalid 'To' Phone Number (code 21211)"


def test_the_number_is_not_shown_to_whoever_sees_the_alert(twilio, message):
    twilio.answers(answer(400, {"code": 21211, "message": f"Invalid 'To' Phone Number: {ANA}"}))
    error = failure("sms", message(ANA))
    assert str(error) == "Twilio: 400: Invalid 'To' Phone Number: the number (code 21211)"
    assert judged(error) == (True, False)


def test_a_wrong_token_can_be_mended_and_is_tried_again(twilio, message, settings):
    settings.TWILIO_AUTH_TOKEN = "wrong"
    assert judged(failure("sms", message(ANA))) == (False, False)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_provider_that_is_busy_may_be_tried_again(twilio, message, status):
    twilio.answers(answer(status, Retry_After="7"))
    error = failure("sms", message(ANA))
    assert judged(error) == (False, False)
    assert error.retry_after.total_seconds() == 7


@pytest.mark.parametrize("said", [GARBAGE, HALF, HANG_UP, SILENCE, answer(201, b"ok"), answer(201, {"sid": None})])
@pytest.mark.parametrize("kind", ["sms", "voice"])
def test_what_may_have_been_sent_is_not_sent_again_by_anybody(twilio, gateway, message, kind, said):
    twilio.answers(said)
    assert judged(failure(kind, message(ANA))) == (True, True)
    assert gateway.requests == []


@pytest.mark.parametrize("said", [answer(500), answer(429), answer(400), answer(401)])
@pytest.mark.parametrize("kind", ["sms", "voice"])
def test_what_twilio_surely_did_not_take_goes_to_the_gateway(twilio, gateway, message, kind, said):
    twilio.answers(said)
    gateway.answers(answer(200, {"message_id": 42}, Content_Type="application/json"))
    assert send(kind, message(ANA)) == "42"
    form = gateway.requests[0].form
    assert (form["to"], form["kind"]) == (ANA, kind)
    assert gateway.requests[0].headers["idempotency-key"] == form["id"]


def test_twilio_that_is_away_is_no_reason_to_be_silent(twilio, gateway, message):
    twilio.close()
    assert send("sms", message(ANA)) == "00000000-0000-0000-0000-000000000005"


def test_when_all_refuse_it_is_permanent_only_if_all_say_so(twilio, gateway, message):
    twilio.answers(answer(400), answer(400))
    gateway.answers(answer(503), answer(403))
    assert judged(failure("sms", message(ANA))) == (False, False)
    error = failure("sms", message(ANA))
    assert judged(error) == (True, False)
    assert "Twilio: 400" in str(error)
    assert "The gateway: 403" in str(error)


def test_a_limit_of_ours_is_distinguished_from_a_provider_that_was_asked(twilio, gateway, message, monkeypatch):
    full = {"provider Twilio", "provider The gateway"}
    monkeypatch.setattr(phone, "acquire", lambda key, limit, **_: timedelta(seconds=20) if key in full else None)
    error = failure("sms", message(ANA))
    assert (error.untried, error.retry_after) == (True, timedelta(seconds=20))

    full.remove("provider The gateway")
    gateway.answers(answer(503))
    assert not failure("sms", message(ANA)).untried


def test_a_template_fills_address_and_json_without_breaking_either(settings, gateway, message):
    settings.SMS_PROVIDERS = ["gateway"]
    settings.GATEWAY_URL += "?to={to}&x={other}"
    settings.GATEWAY_BODY = {"messages": [{"text": "HB: {text}", "id": "{id}", "n": 1}], "to": ["{to}"]}
    settings.GATEWAY_HEADERS = {"Authorization": "Bearer key"}
    notification = message(ANA, about={"short_text": 'say "no" \\ {to}'})
    send("sms", notification)
    (request,) = gateway.requests
    assert request.path == "/send?to=%2B4915112345678&x={other}"
    assert request.json["messages"][0]["text"].startswith('HB: High #7: say "no" \\ {to} http')
    assert request.json["to"] == [ANA]
    assert request.headers["authorization"] == "Bearer key"


def test_a_gateway_that_promises_json_and_sends_none_may_have_sent_the_sms(settings, gateway, message):
    settings.SMS_PROVIDERS = ["gateway"]
    gateway.answers(answer(200, b"<html>", Content_Type="application/json"))
    assert judged(failure("sms", message(ANA))) == (True, True)


def test_without_a_provider_it_says_so(settings, message):
    settings.SMS_PROVIDERS = []
    assert failure("sms", message(ANA)).permanent
