"""The page behind the link: who may load it, what it tells browsers, and what it keeps to itself."""

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerting.services import assign
from escalation import links
from escalation.models import Notification
from heartbeat_project.kernel import clock
from heartbeat_project.logs import redact
from tests import factories
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh_counts():
    cache.clear()


@pytest.fixture
def link(world: World, monkeypatch):
    """The path of Ana's page about a silent backup."""
    monkeypatch.setattr(clock, "now", lambda: world.now)
    bridge = factories.BridgeFactory(organization=world.organization, name="Ops line")
    world.heartbeat("backup", every=minutes(5), tell=["ana"], bridge=bridge)
    world.advance(minutes(5))
    return "/r/" + links.token(Notification.objects.get().pk)


@pytest.mark.parametrize("method", ["get", "head", "post"])
def test_each_answer_keeps_the_address_to_its_reader(client, link, method):
    for path in (link, "/r/forged"):
        response = getattr(client, method)(path)
        assert response["Cache-Control"] == "no-store"
        assert response["Referrer-Policy"] == "no-referrer"
        assert "noindex" in response["X-Robots-Tag"]
        assert "default-src 'none'" in response["Content-Security-Policy"]
        assert response["X-Frame-Options"] == "DENY"
        assert not response.cookies


@pytest.mark.parametrize(
    "spoil", [lambda link: link[:-1] + ("A" if link[-1] != "A" else "Q"), lambda link: link[:-5], lambda _: "/r/x"]
)
def test_a_forged_or_broken_link_says_so_and_where_to_sign_in(client, link, spoil):
    for response in (client.get(spoil(link)), client.post(spoil(link), {"action": "assign"})):
        assert response.status_code == 404
        assert "This link leads nowhere" in response.content.decode()
        assert "Sign in to see the alerts" in response.content.decode()
        assert "backup" not in response.content.decode()


def test_the_id_of_a_notification_is_no_link(client, link):
    assert client.get(f"/r/{Notification.objects.get().pk}").status_code == 404


def test_recoveries_and_notices_have_no_page(client, world, link):
    world.ping(world.heartbeats()[0])
    world.advance(seconds(1))
    recovery = Notification.objects.get(kind="recovery")
    assert client.get("/r/" + links.token(recovery.pk)).status_code == 404


def test_the_page_acts_for_whom_the_message_went_to_whoever_is_signed_in(client, world, link):
    client.force_login(world.person("ben", roles=["App Admin"]))
    assert "<bdi>Ana</bdi>" in client.get(link).content.decode()
    client.post(link, {"action": "assign"})
    assert world.alert(world.heartbeats()[0]).owner == world.person("ana")


def test_no_csrf_token_is_needed_because_the_address_is_the_authority(link, world):
    strict = Client(enforce_csrf_checks=True, headers={"Origin": "null"})
    assert strict.post(link, {"action": "assign"}).status_code == 303
    assert world.alert(world.heartbeats()[0]).owner == world.person("ana")


def test_times_are_the_readers(client, world, link):
    type(world.person("ana")).objects.update(time_zone="America/New_York")
    assert "07:05:00" in client.get(link).content.decode()


def test_the_bridge_is_one_press_away(client, link):
    page = client.get(link).content.decode()
    assert 'href="tel:+49301234567,,4711%23"' in page
    assert 'href="https://meet.example.com/ops"' in page


def test_a_button_in_a_mail_stands_first_and_still_waits_for_the_press(client, world, link):
    page = client.get(f"{link}?do=escalate").content.decode()
    assert "<strong>Escalate?</strong>" in page
    assert page.index('value="escalate"') < page.index('value="assign"')
    assert "?</strong>" not in client.get(f"{link}?do=<script>").content.decode()
    assert world.alert(world.heartbeats()[0]).status == "open"


def test_a_button_that_came_too_late_says_why_it_is_not_there(client, world, link):
    client.post(link, {"action": "acknowledge"})
    assert "Acknowledged by Ana (2 Mar 12:05)." in client.get(f"{link}?do=acknowledge").content.decode()
    ben = world.person("ben")
    assign(world.alert(world.heartbeats()[0]), actor=ben, to=ben, now=world.now)
    page = client.get(link).content.decode()
    assert page.count("Ben took the alert (2 Mar 12:05). Talk to Ben, or sign in") == 1


def test_too_many_tries_within_a_minute_are_refused_and_looking_is_not(client, link):
    for _ in range(20):
        assert client.post(link, {"action": "nonsense"}).status_code == 409
    response = client.post(link, {"action": "assign"})
    assert response.status_code == 429
    assert response["Retry-After"] == "60"
    assert "Too many tries" in response.content.decode()
    assert client.get(link).status_code == 200


def test_what_is_no_action_does_nothing(client, world, link):
    for action in ("", "hold", "cancel", "resume", "take-all", "\x00"):
        assert client.post(link, {"action": action}).status_code == 409
    assert world.alert(world.heartbeats()[0]).status == "open"


def test_an_alert_of_another_message_is_not_behind_this_link(client, world, link):
    other = factories.AlertFactory(organization=world.organization)
    assert client.get(f"{link}/{other.pk}").status_code == 404
    assert client.get(f"{link}/{10**30}").status_code == 404
    assert client.get(f"{link}/{world.alert(world.heartbeats()[0]).pk}").status_code == 200


def test_names_are_shown_as_they_are(client, world, link):
    Notification.objects.get().alert.__class__.objects.update(subject="<script>alert(1)</script>")
    page = client.get(link).content.decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_page_takes_few_queries_however_many_alerts_it_lists(client, world, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: world.now)
    world.bundle(seconds(5))
    for number in range(40):
        world.heartbeat(f"job {number}", every=minutes(5), tell=["ana"])
    world.advance(minutes(5) + seconds(5))
    envelope = Notification.objects.latest("alert_id").envelope
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get("/r/" + links.token(envelope)).status_code == 200
    assert len(queries) <= 10


def test_the_log_does_not_hold_the_link(link):
    assert redact(link) == "/r/***"
    assert redact(f"{link}/12?do=assign") == "/r/***/12?do=assign"
