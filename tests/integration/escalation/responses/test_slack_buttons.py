"""Buttons in Slack act for whom Slack says pressed them, and for nobody else."""

from datetime import timedelta

import pytest
from django.conf import settings

from alerting.models.alerts import Alert
from escalation.api import inbound_webhooks
from escalation.models.notifications import Notification
from escalation.models.responses import Response
from escalation.responses import tokens
from escalation.responses.respond import UNKNOWN_MEMBER
from heartbeat_project.kernel import clock
from tests import factories
from tests.chats import known_in_chat
from tests.integration.escalation.posting import press_slack as press

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def set_up(settings, monkeypatch, now):
    settings.SLACK_SIGNING_SECRET = "slack-secret"
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=1))


@pytest.fixture
def answers(monkeypatch):
    sent = []
    monkeypatch.setattr(inbound_webhooks, "_answer_slack", lambda address, words: sent.append((address, words)))
    return sent


@pytest.fixture
def note(notification, answers):
    """Ana was notified over a channel, and has said who she is in Slack."""
    made = notification("chat", "https://hooks.slack.com/services/x")
    known_as(made.user, "U0ANA")
    return made


def known_as(user, slack_id):
    known_in_chat(user, f"T1:{slack_id}")
    return user


@pytest.fixture
def ben(person):
    """Reads the channel and may act on every alert."""
    return known_as(person("ben", roles=["App Admin"]), "U0BEN")


def alert_of(note):
    return Alert.objects.get(pk=note.alert_id)


def text(response):
    assert response.status_code == 200
    assert response.json()["response_type"] == "ephemeral"
    return response.json()["text"]


def test_a_button_does_what_it_says_and_who_pressed_it_is_answered(client, note, answers):
    said = text(press(client, note, "assign"))
    assert "is yours" in said
    assert alert_of(note).owner == note.user
    assert said.endswith(f"To give it back: {settings.BASE_URL}/alerts/{note.alert_id}/")
    assert answers == [("https://hooks.slack.com/actions/T/1/x", said)]
    assert "already did this" in text(press(client, note, "assign"))


def test_it_acts_for_who_pressed_and_not_for_whose_channel_it_is(client, note, ben):
    assert "is yours" in text(press(client, note, "assign", by="U0BEN"))
    assert alert_of(note).owner == ben
    assert Response.objects.get().user == ben
    assert "Talk to Ben" in text(press(client, note, "close"))
    assert alert_of(note).status == "assigned"


@pytest.mark.parametrize("by", ["U0NOBODY", "", "u0ana", "U0\x00", None, 7, ["U0ANA"]])
def test_who_is_not_known_is_shown_what_to_do_and_nothing_changes(client, note, by):
    before = list(alert_of(note).timeline.values())
    assert text(press(client, note, "close", by=by)) == UNKNOWN_MEMBER
    assert "My contact methods" in UNKNOWN_MEMBER
    assert alert_of(note).status == "open"
    assert list(alert_of(note).timeline.values()) == before
    assert not Response.objects.exists()


def test_a_payload_without_a_user_changes_nothing(client, note):
    assert text(press(client, note, "close", user=None)) == UNKNOWN_MEMBER
    assert alert_of(note).status == "open"


def test_a_member_of_another_organization_can_never_act(client, note):
    stranger = factories.UserFactory(organization=factories.OrganizationFactory(), roles=["Owner"])
    known_as(stranger, "U0EVE")
    assert text(press(client, note, "close", by="U0EVE")) == UNKNOWN_MEMBER
    assert alert_of(note).status == "open"


def test_one_member_id_in_two_organizations_means_the_person_of_the_alerts_own(client, note):
    stranger = factories.UserFactory(organization=factories.OrganizationFactory(), roles=["Owner"])
    known_as(stranger, "U0ANA")
    press(client, note, "assign")
    assert alert_of(note).owner == note.user


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"kind": "stakeholder"}, "You are a stakeholder"),
        ({"is_active": False}, "Your account is deactivated"),
        ({"roles": ["Basic"]}, "You are not allowed to respond to this alert"),
    ],
)
def test_who_may_not_respond_cannot_from_slack_either(client, note, person, fields, why):
    known_as(person("cleo", **{"roles": ["App Admin"], **fields}), "U0CLEO")
    assert why in text(press(client, note, "close", by="U0CLEO"))
    assert alert_of(note).status == "open"


def test_two_people_may_both_acknowledge_and_only_one_escalates(client, note, ben):
    said = text(press(client, note, "acknowledge"))
    assert said.startswith("You acknowledged")
    assert said.endswith(f"To undo: {settings.BASE_URL}/alerts/{note.alert_id}/")
    assert text(press(client, note, "acknowledge", by="U0BEN")).startswith("You acknowledged")
    assert "You escalated" in text(press(client, note, "escalate", by="U0BEN"))
    assert "Ben already did this" in text(press(client, note, "escalate"))
    assert [entry.kind for entry in note.alert.timeline.all()].count("escalated") == 1


def test_many_alerts_of_one_message_are_taken_by_who_pressed(client, note, notification, ben):
    other = notification("chat", "https://hooks.slack.com/services/x", name="other")
    Notification.objects.filter(pk__in=[note.pk, other.pk]).update(message_id=note.pk)
    said = text(press(client, note, "assign", by="U0BEN"))
    assert "2 alerts are yours" in said
    assert said.endswith(f"To give one back: {settings.BASE_URL}/bundles/{note.pk}/")
    assert {alert_of(note).owner, alert_of(other).owner} == {ben}


def test_a_channel_that_is_removed_answers_nobody(client, note, ben):
    note.contact_method.delete()
    assert "no longer used" in text(press(client, note, "close", by="U0BEN"))
    assert alert_of(note).status == "open"


def test_a_recorded_request_is_refused_after_five_minutes(client, note, answers):
    assert press(client, note, "close", age=timedelta(minutes=5, seconds=1)).status_code == 403
    assert alert_of(note).status == "open"
    assert answers == []


def test_what_slack_reports_besides_buttons_is_taken_and_nothing_is_done(client, note):
    assert press(client, note, "page").status_code == 200
    assert press(client, note, "assign", type="view_closed").status_code == 200
    assert alert_of(note).status == "open"


def test_what_stands_in_a_button_opens_no_page_and_a_link_is_no_button(client, note):
    forged = [{"action_id": "heartbeat.close", "value": tokens.token(note.pk)}]
    assert "This button is not from Heartbeat" in text(press(client, note, "close", actions=forged))
    assert client.get(f"/r/{tokens.button(note.pk)}").status_code == 404
    assert alert_of(note).status == "open"
