"""One Slack app has one address for all buttons: those of pages and of alerts work at either of ours."""

import json
from urllib.parse import urlencode

import pytest

from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from escalation.responses import tokens
from integrations.models.chat import ChatMessage
from tests import factories
from tests.chats import FORM, command, known_in_chat, pressed, signed
from tests.world import seconds

pytestmark = pytest.mark.django_db
BOTH = "/api/v1/responses/slack/"


@pytest.fixture
def paged(world, slack, settings):
    """Ana was paged over a channel of Slack; the app's secret is that of the integration."""
    settings.SLACK_SIGNING_SECRET = "slack-secret"
    ana = world.person("ana", roles=["App Admin"])
    known_in_chat(ana, "T1:U0ANA")
    api = world.api("Shop", recipients=["ana"])
    alert = Alert.objects.get(pk=world.post(api, {"title": "db1 is down"}).results[0].alert_id)
    world.advance(seconds(2))
    notification = Notification.objects.filter(alert=alert, user=ana).first()
    return alert, notification


def page_button(notification, action, *, member="U0ANA"):
    payload = {
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": member},
        "channel": {"id": "C7", "name": "pages"},
        "response_url": "https://hooks.slack.com/actions/T1/1/x",
        "actions": [{"action_id": f"heartbeat.{action}", "value": tokens.button(notification.pk), "action_ts": "1.7"}],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def test_the_button_of_a_page_works_at_the_address_of_the_integration(paged, slack, post):
    alert, notification = paged
    slack.chat_settings.channels = ["ops"]  # pages go elsewhere
    slack.chat_settings.save()
    assert post(slack, page_button(notification, "assign", member="U0EVE")).status_code == 200
    assert Alert.objects.get(pk=alert.pk).owner is None
    assert post(slack, page_button(notification, "assign")).status_code == 200
    assert Alert.objects.get(pk=alert.pk).owner == notification.user
    assert [message.body["text"][:20] for message in ChatMessage.objects.order_by("pk")] == [
        "Nothing was changed:",
        f"#{alert.pk} db1 is down is yours. Nobody"[:20],
    ]


def test_the_button_of_an_alert_works_at_the_address_of_pages(slack, post, client, world, settings):
    settings.SLACK_SIGNING_SECRET = "slack-secret"
    known_in_chat(world.person("ann", roles=["App Admin"]), "T1:U0ANN")
    post(slack, command("Disk full"))
    alert = Alert.objects.get()

    def press(**how):
        body = pressed("close", alert.pk, **how)
        return client.post(BOTH, body, content_type=FORM, headers=signed(body))

    assert "does not know who you are" in press(member="U0EVE").json()["text"]
    assert "You closed" in press(member="U0ANN").json()["text"]
    assert Alert.objects.get().status == "closed"
    assert ChatMessage.objects.filter(kind="answer").count() == 2
    body = pressed("close", alert.pk)
    assert client.post(BOTH, body, content_type=FORM, headers=signed(body, secret="x")).status_code == 403
    settings.SLACK_SIGNING_SECRET = ""
    assert client.post(BOTH, body, content_type=FORM, headers=signed(body)).status_code == 404


def test_an_app_with_another_secret_knows_nobody_of_the_integration(slack, post, client, world, settings):
    settings.SLACK_SIGNING_SECRET = "the operator's app"
    known_in_chat(world.person("ann", roles=["App Admin"]), "T1:U0ANN")
    post(slack, command("Disk full"))
    body = pressed("close", Alert.objects.get().pk, member="U0ANN")
    answer = client.post(BOTH, body, content_type=FORM, headers=signed(body, secret="the operator's app"))
    assert "does not know who you are" in answer.json()["text"]
    assert Alert.objects.get().status == "open"


def test_a_button_of_another_organizations_page_does_nothing(slack, post, world, paged, settings):
    alert, notification = paged
    stranger = factories.UserFactory(organization=factories.OrganizationFactory(), roles=["Owner"])
    known_in_chat(stranger, "T1:U0EVE")
    post(slack, page_button(notification, "close", member="U0EVE"))
    assert Alert.objects.get(pk=alert.pk).status == "open"
