"""Webhooks, chat, push and Apprise over the wire."""

import base64
import hashlib
import hmac
import json
import socket
import time

import pytest

from accounts.signing import signing_secret
from escalation.channels import push
from escalation.channels.base import DeliveryError
from escalation.notifications.providers.channel_pool import ChannelPool
from tests.providers.push import PushService, unpacked
from tests.providers.server import GARBAGE, HALF, HANG_UP, SILENCE, Drip, answer

pytestmark = pytest.mark.django_db  # whether a message may be answered is asked of its row


def send(kind, message):
    with ChannelPool() as channel_pool:
        return channel_pool.send(kind, message)


def failure(kind, message):
    with pytest.raises(DeliveryError) as caught:
        send(kind, message)
    return caught.value


def judged(error):
    return error.permanent, error.uncertain


@pytest.fixture
def pushing(make_provider):
    service = make_provider(PushService)
    service.key = push.public_key()
    return service


def addresses(provider, pushing):
    host = provider.url.removeprefix("http://")
    subscription = json.loads(pushing.subscription)
    subscription["endpoint"] = f"{provider.url}/push"
    return {
        "webhook": f"{provider.url}/hook",
        "chat": f"{provider.url}/services/T/B/x",
        "push": json.dumps(subscription),
        "apprise": f"gotify://{host}/abcdefghijklmno",
    }


# -- what all of them do with answers
# -----------------------------------------------------------------------------------
KINDS = ["webhook", "chat", "push", "apprise"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (answer(400), (True, False)),
        (answer(404), (True, False)),
        (answer(429), (False, False)),
        (answer(500), (False, False)),
        (answer(503), (False, False)),
        (GARBAGE, (False, True)),
        (HANG_UP, (False, True)),
        (SILENCE, (False, True)),
    ],
)
def test_an_answer_means_the_same_in_every_channel(provider, pushing, message, kind, said, meant):
    provider.answers(said)
    assert judged(failure(kind, message(addresses(provider, pushing)[kind]))) == meant


@pytest.mark.parametrize("kind", KINDS)
def test_who_answers_a_byte_at_a_time_is_not_waited_for(provider, pushing, message, kind):
    provider.answers(Drip())
    began = time.monotonic()
    assert judged(failure(kind, message(addresses(provider, pushing)[kind]))) == (False, True)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("kind", ["webhook", "chat", "push"])
def test_half_an_answer_is_none(provider, pushing, message, kind):
    provider.answers(HALF)
    assert judged(failure(kind, message(addresses(provider, pushing)[kind]))) == (False, True)


@pytest.mark.parametrize("kind", KINDS)
def test_no_channel_leads_into_a_private_network(settings, provider, pushing, message, kind):
    settings.OUTGOING_ALLOW = []
    error = failure(kind, message(addresses(provider, pushing)[kind]))
    assert judged(error) == (True, False)
    assert "not public" in str(error)
    assert provider.requests == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_redirect_leads_into_a_private_network(provider, pushing, message, kind):
    provider.answers(answer(307, Location="http://127.0.0.2:9/"))
    assert failure(kind, message(addresses(provider, pushing)[kind])).permanent
    assert len(provider.requests) == 1


# -- webhooks
# -----------------------------------------------------------------------------------------------------------
def test_a_webhook_is_signed_over_id_time_and_body_as_standard_webhooks_says(provider, message, now):
    url = f"{provider.url}/hook"
    assert send("webhook", message(url)) == "00000000-0000-0000-0000-000000000005"
    (request,) = provider.requests
    assert request.headers["webhook-id"] == request.headers["idempotency-key"] == request.json["id"]
    assert request.headers["webhook-timestamp"] == str(int(now.timestamp()))
    key = base64.b64decode(signing_secret(url).removeprefix("whsec_"))
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert request.json["alert"]["source_name"] == "backup"
    assert request.json["type"] == "page"
    assert signing_secret(url) != signing_secret(f"{url}2")


def test_after_a_change_of_the_key_a_webhook_is_signed_for_receivers_of_before_too(settings, provider, message):
    url = f"{provider.url}/hook"
    send("webhook", message(url))
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    send("webhook", message(url))
    before, after = (request.headers["webhook-signature"] for request in provider.requests)
    assert before in after.split()
    assert len(after.split()) == 2


def test_a_webhook_without_an_alert_carries_its_text(provider, message):
    send(
        "webhook", message(provider.url, kind="notice", has_alert=False, subject="Confirm", text="The code is 123456.")
    )
    said = provider.requests[0].json
    assert (said["alert"], said["title"], said["long_text"]) == (None, "Confirm", "The code is 123456.")


# -- chat
# ---------------------------------------------------------------------------------------------------------------
def test_slack_gets_the_long_text_in_which_nothing_can_be_called(provider, message):
    notification = message(provider.url, about={"subject": "<!channel> is silent"})
    send("chat", notification)
    text = provider.requests[0].json["text"]
    assert text.startswith(
        "*High #7 [Open] &lt;!channel&gt; is silent*\nThe heartbeat “backup” &amp; co has stayed silent."
    )
    assert text.endswith("/alerts/7/")


def test_teams_gets_a_card(provider, message, monkeypatch):
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: real("127.0.0.1", *a, **k))
    notification = message(
        f"http://contoso.webhook.office.com:{provider.port}/webhookb2/x",
        about={"subject": "[click](http://evil.example) is silent"},
    )
    send("chat", notification)
    (attachment,) = provider.requests[0].json["attachments"]
    card = attachment["content"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert card["body"][0]["text"].startswith("High #7 \\[Open] \\[click](")
    assert card["actions"][0]["url"].endswith("/alerts/7/")


def test_a_recovery_says_that_it_is_over(provider, message, now):
    notification = message(provider.url, kind="recovery", about={"closed_at": now})
    send("chat", notification)
    text = provider.requests[0].json["text"]
    assert text.startswith(
        "*[Recovered] #7 backup*\nThe signal is back; the alert was closed at Mon 2 Mar 2026, 12:00:00 UTC."
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "contoso.webhook.office.com"])
def test_chat_names_the_message_so_that_one_that_comes_twice_can_be_recognized(provider, message, monkeypatch, host):
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *a, **k: real("127.0.0.1", *a, **k))
    send("chat", message(f"http://{host}:{provider.port}/x"))
    assert provider.requests[0].headers["idempotency-key"] == "00000000-0000-0000-0000-000000000005"


# -- push
# ---------------------------------------------------------------------------------------------------------------
def test_a_push_message_is_shown_by_the_browser_that_subscribed(pushing, message):
    assert send("push", message(pushing.subscription)) == f"{pushing.url}/message/1"
    (shown,) = pushing.shown
    assert shown["title"] == "High #7 [Open] backup <b> is silent"
    assert shown["body"].startswith("High #7: backup is silent.")
    assert shown["url"].endswith("/alerts/7/")
    assert pushing.requests[0].headers["topic"] == "0" * 31 + "5"
    assert b"backup" not in pushing.requests[0].body


def test_a_browser_that_subscribed_before_a_change_of_the_key_is_reached(settings, pushing, message):
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert push.public_key() != pushing.key
    send("push", message(pushing.subscription))
    pushing.key = push.public_key()
    send("push", message(pushing.subscription))
    assert len(pushing.shown) == 2


def test_the_longest_message_fits_a_push_message(pushing, message):
    send("push", message(pushing.subscription, about={"short_text": "🎈" * 300, "subject": "🎈" * 300}))
    assert len(pushing.requests[0].body) < 4_096


@pytest.mark.parametrize("status", [404, 410])
def test_a_browser_that_is_gone_is_gone_for_good(pushing, message, status):
    pushing.answers(answer(status))
    error = failure("push", message(pushing.subscription))
    assert error.permanent
    assert "Add it again" in str(error)


def test_another_vapid_key_is_not_known(pushing, message, settings):
    settings.VAPID_PRIVATE_KEY = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
    assert failure("push", message(pushing.subscription)).permanent
    pushing.key = push.public_key()
    assert send("push", message(pushing.subscription))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "x", '{"endpoint": 1, "keys": {"p256dh": "é", "auth": ""}}', "[" * 9_999]
)
def test_what_is_no_subscription_is_refused_for_good(message, text):
    assert failure("push", message(text)).permanent


def test_encryption_gives_the_example_of_rfc_8291():
    """Appendix A of the RFC."""
    from cryptography.hazmat.primitives.asymmetric import ec

    subscription = push.read_subscription(
        json.dumps(
            {
                "endpoint": "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV",
                "keys": {
                    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
                    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
                },
            }
        )
    )
    own = int.from_bytes(unpacked("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big")
    made = push.encrypt(
        b"When I grow up, I want to be a watermelon",
        subscription,
        own=ec.derive_private_key(own, ec.SECP256R1()),
        salt=unpacked("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    assert made == unpacked(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBr"
        "u3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
