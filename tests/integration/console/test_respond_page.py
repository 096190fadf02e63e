"""The page behind the link: who may load it, what it notifies browsers, and what it keeps to itself."""

import base64
import json
import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.addresses import clean_address
from accounts.services.contact_methods import renew_push_subscription, update_contact_method
from alerting.models.alerts import AlertRecipient
from alerting.services.alerts import assign
from escalation.models.notifications import Notification
from escalation.responses import tokens
from heartbeat_project.kernel import clock
from heartbeat_project.masking import masked
from tests import factories
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def link(world: World, monkeypatch):
    """The path of Ana's page about a silent backup."""
    monkeypatch.setattr(clock, "now", lambda: world.now)
    bridge = factories.BridgeFactory(organization=world.organization, name="Ops line")
    world.heartbeat("backup", every=minutes(5), recipients=["ana"], bridge=bridge)
    world.advance(minutes(5))
    return "/r/" + tokens.token(Notification.objects.get().pk)


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
        assert "This link is not valid" in response.content.decode()
        assert "Sign in to see the alerts" in response.content.decode()
        assert "backup" not in response.content.decode()


def test_the_id_of_a_notification_is_no_link(client, link):
    assert client.get(f"/r/{Notification.objects.get().pk}").status_code == 404


def test_recoveries_and_notices_have_no_page(client, world, link):
    world.ping(world.heartbeats()[0])
    world.advance(seconds(1))
    recovery = Notification.objects.get(kind="recovery")
    assert client.get("/r/" + tokens.token(recovery.pk)).status_code == 404


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


def test_who_has_the_alert_finds_closing_it_first_and_not_what_they_did(client, world, link):
    before = client.get(link).content.decode()
    assert re.search(r'value="assign" class="primary"', before)
    assert client.post(link, {"action": "assign"}).status_code == 303
    page = client.get(link).content.decode()
    assert re.findall(r'value="([\w-]+)" class="primary"', page) == ["close"]
    assert page.index('value="close"') < page.index('value="escalate"')


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
    for action in ("", "hold", "cancel", "resume", "on-it", "\x00"):
        assert client.post(link, {"action": action}).status_code == 409
    assert world.alert(world.heartbeats()[0]).status == "open"


@pytest.mark.parametrize("leave", ["deactivated", "without roles", "another address", "address removed"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_link_shows_nothing_once_its_reader_has_left(client, world, link, leave, method):
    ana = world.person("ana")
    assert "backup" in client.get(link).content.decode()
    if leave == "deactivated":
        type(ana).objects.filter(pk=ana.pk).update(is_active=False)
    elif leave == "without roles":
        ana.roles.clear()
    elif leave == "another address":
        ana.contact_methods.update(address="somebody@example.org")
    else:
        ana.contact_methods.all().delete()
    response = getattr(client, method)(link, {"action": "assign"} if method == "post" else {})
    page = response.content.decode()
    assert response.status_code == 410
    assert "This link does not work any more" in page
    for secret in ("backup", "4711#", "1234567", "Ops line", ana.email, "#1 "):
        assert secret not in page
    assert world.alert(world.heartbeats()[0]).owner is None


def subscription(name: str) -> dict:
    point = base64.urlsafe_b64encode(bytes.fromhex(_POINT)).rstrip(b"=").decode()
    secret = base64.urlsafe_b64encode(bytes(16)).rstrip(b"=").decode()
    return {"endpoint": f"https://push.example.net/{name}", "keys": {"p256dh": point, "auth": secret}}


# The base point of P-256: a key of a browser like any other.
_POINT = (
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)


@pytest.mark.parametrize("change", ["renewed", "another browser", "deactivated"])
def test_links_of_a_browser_that_renewed_its_subscription_go_on(client, world, link, change):
    ana = world.person("ana")
    address = clean_address("push", json.dumps(subscription("old")))
    verified_at = Notification.objects.get().created_at
    method = ana.contact_methods.create(kind="push", label="Push-Laptop", address=address, verified_at=verified_at)
    Notification.objects.update(contact_method=method, channel="push", address=address)

    assert renew_push_subscription(old=address, new=json.dumps(subscription("new")))
    if change == "another browser":
        method.refresh_from_db()
        update_contact_method(method, actor=ana, address=json.dumps(subscription("another")))
    elif change == "deactivated":
        type(ana).objects.filter(pk=ana.pk).update(is_active=False)

    goes_on = change == "renewed"
    assert client.get(link).status_code == (200 if goes_on else 410)
    assert client.post(link, {"action": "assign"}).status_code == (303 if goes_on else 410)
    assert world.alert(world.heartbeats()[0]).owner == (ana if goes_on else None)


def test_of_many_alerts_a_link_lists_those_alone_that_its_reader_may_still_see(client, world, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: world.now)
    world.bundle(seconds(5))
    for name in ("kept", "taken away", "kept too"):
        world.heartbeat(name, every=minutes(5), recipients=["ana"])
    world.advance(minutes(5) + seconds(5))
    notification = Notification.objects.filter(user=world.person("ana"), alert__isnull=False)
    link = "/r/" + tokens.token(notification.latest("alert_id").message_id)
    assert "taken away" in client.get(link).content.decode()
    AlertRecipient.objects.filter(alert__source_name="taken away").delete()
    page = client.get(link).content.decode()
    assert "kept too" in page
    assert "taken away" not in page
    assert client.get(f"{link}/{notification.get(alert__source_name='taken away').alert_id}").status_code == 410


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
        world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5) + seconds(5))
    message_id = Notification.objects.latest("alert_id").message_id
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get("/r/" + tokens.token(message_id)).status_code == 200
    assert len(queries) <= 12


def test_the_log_does_not_hold_the_link(link):
    assert masked(link) == "/r/***"
    assert masked(f"{link}/12?do=assign") == "/r/***/12?do=assign"
