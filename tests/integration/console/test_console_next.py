"""An alert's page says who is notified next, over what and when."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models.contact_methods import ContactMethod
from alerting.services import alerts
from escalation.models.notifications import Notification
from heartbeat_project.kernel import clock
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def a_minute_later(monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=1))


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana", roles=["App Admin"])


@pytest.fixture
def ben(organization, now):
    ben = factories.UserFactory(organization=organization, name="Ben")
    ContactMethod.objects.create(user=ben, kind="sms", label="SMS-Work", address="+49151", verified_at=now)
    return ben


@pytest.fixture
def open_alert(organization, ana, now):
    """Open an alert whose Primary is Ana; returns it."""

    def make(secondary=(), **fields):
        team = factories.GroupFactory(organization=organization, name="On call", primary=[ana], secondary=secondary)
        policy = factories.PolicyFactory(organization=organization, name="Rota", **fields)
        return page(organization, policy=policy, groups=[team], now=now)

    return make


@pytest.fixture
def next_of(ana):
    client = Client()
    client.force_login(ana)

    def look(alert):
        shown = client.get(f"/alerts/{alert.pk}/").content.decode()
        fragment = client.get(f"/alerts/{alert.pk}/progress/").content.decode()
        for text in (shown, fragment):
            assert ('id="next-title"' in text) == ('id="next-title"' in fragment)
        begin = fragment.find('id="next-title"')
        return " ".join(fragment[begin : fragment.index('id="timeline-title"')].split()) if begin >= 0 else ""

    return look


def test_it_names_the_people_of_the_next_step_with_their_contact_methods(open_alert, next_of, ben):
    said = next_of(open_alert(secondary=[ben]))
    assert "in 4 minutes" in said
    assert "<strong>Ben</strong><span>Secondary of On call</span>" in said
    assert "SMS-Work, Email-Official" in said or "Email-Official, SMS-Work" in said
    assert "Ana" not in said


def test_who_opted_out_or_is_out_of_reach_is_not_named(open_alert, next_of, ben, now):
    alert = open_alert(secondary=[ben])
    type(ben).objects.filter(pk=ben.pk).update(is_active=False)
    assert "This step reaches nobody." in next_of(alert)
    type(ben).objects.filter(pk=ben.pk).update(is_active=True)
    type(alert).objects.filter(pk=alert.pk).update(integration_id=77)
    assert "<strong>Ben</strong>" in next_of(alert)
    ben.opt_outs.create(integration_id=77, created_at=now)
    assert "<strong>Ben</strong>" not in next_of(alert)


def test_an_overdue_step_comes_any_moment(open_alert, next_of, ben, now, monkeypatch):
    alert = open_alert(secondary=[ben])
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=6))
    said = next_of(alert)
    assert "Any moment now" in said
    assert "<strong>Ben</strong>" in said


def test_when_nobody_else_is_notified_it_says_why(open_alert, next_of, ana, ben, now):
    alert = open_alert(secondary=[ben], acknowledge_stops=True)
    alerts.hold(alert, actor=ana, now=now)
    assert "until it is resumed" in next_of(alert)
    alerts.resume(alert, actor=ana, now=now)
    alerts.acknowledge(alert, actor=ana, now=now)
    assert "“Rota” stops at that" in next_of(alert)
    alerts.assign(alert, actor=ana, to=ana, now=now)
    assert "Nobody else is notified while Ana has it." in next_of(alert)
    alerts.close(alert, actor=ana, now=now)
    assert next_of(alert) == ""


def test_a_walk_that_is_over_says_so(open_alert, next_of):
    assert "No further step follows." in next_of(open_alert(steps=[{"role": "primary"}]))


def test_an_alert_without_escalation_says_so(organization, next_of):
    assert "has no escalation" in next_of(factories.AlertFactory(organization=organization))


def test_the_number_of_queries_does_not_grow_with_people(open_alert, organization, ana):
    client = Client()
    client.force_login(ana)

    def queries(people):
        crowd = [factories.UserFactory(organization=organization) for _ in range(people)]
        team = factories.GroupFactory(organization=organization, primary=[ana], secondary=crowd)
        policy = factories.PolicyFactory(organization=organization)
        alert = page(organization, policy=policy, groups=[team], now=clock.now())
        with CaptureQueriesContext(
            connection,
        ) as captured:
            shown = client.get(f"/alerts/{alert.pk}/progress/").content.decode()
        assert shown.count("Secondary of") == people
        return len(captured)

    assert queries(1) == queries(12)


def test_the_page_says_when_the_first_person_who_can_answer_is_notified(open_alert, ana, ben, next_of, now):
    said = "Nobody who can answer has been notified yet."
    ana.contact_methods.update(delay_minutes=20)
    alert = open_alert(secondary=[ben], steps=[{"role": "primary"}, {"role": "secondary", "wait_minutes": 40}])
    shown = next_of(alert)
    assert said in shown
    assert f'The first is notified <time datetime="{(now + timedelta(minutes=20)).isoformat()}"' in shown
    Notification.objects.filter(user=ana).update(status="failed", next_attempt_at=None)
    assert f'The first is notified <time datetime="{(now + timedelta(minutes=40)).isoformat()}"' in next_of(alert)
    Notification.objects.filter(user=ana).update(status="accepted")
    assert said not in next_of(alert)
