"""No channel, recipient or organization holds up another: slow sends beside those that everybody else waits for."""

import threading
import time
from contextlib import nullcontext
from copy import copy
from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import OperationalError

from accounts.models.contact_methods import ContactMethod
from escalation.models.notifications import Notification
from escalation.notifications import claim as claims
from escalation.notifications import deliver
from escalation.notifications.claim import SHARED, TO_ONE, claim
from escalation.notifications.deliver import dispatch_due
from escalation.notifications.providers.channel_pool import CHANNELS
from escalation.tasks import send_test_message
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.database import release_connection
from tests import factories
from tests.integration.escalation.posting import page, race

pytestmark = pytest.mark.django_db(transaction=True)
SOON = 5.0


class Channel:
    """Takes every message at once, but hangs with those to addresses that begin with "hung"."""

    def __init__(self):
        self.go = threading.Event()
        self.lock = threading.Lock()
        self.began = {}
        self.taken = {}

    def send(self, message):
        release_connection()
        with self.lock:
            self.began.setdefault(message.address, time.monotonic())
        if "hung" in message.address:
            self.go.wait(60)
        with self.lock:
            self.taken.setdefault(message.address, time.monotonic())
        return f"taken-{message.id}"

    def close(self):
        """Have nothing to let go of."""


@pytest.fixture(autouse=True)
def slots(settings):
    settings.CHANNEL_CONCURRENCY = {}


@pytest.fixture
def channel(monkeypatch):
    made = Channel()
    for kind in ("email", "webhook"):
        monkeypatch.setitem(CHANNELS, kind, lambda: SimpleNamespace(send=made.send, close=made.close))
    yield made
    made.go.set()


@pytest.fixture
def ticks(channel, close_connections, monkeypatch):
    """Tick each fifth of a second as beat does each second, and say how long the longest tick took."""
    background = deliver._Background()
    monkeypatch.setattr(deliver, "_BACKGROUND", background)
    over, took = threading.Event(), []

    def tick():
        while not over.wait(0.2):
            began = time.monotonic()
            dispatch_due(now=clock.now())
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=tick)
    thread.start()
    yield took
    over.set()
    thread.join()
    channel.go.set()
    until(lambda: not background._is_running, seconds=20)


def until(answer, *, seconds=SOON + 5):
    """Wait until the answer is yes; return how many seconds that took."""
    began = time.monotonic()
    while not answer():
        assert time.monotonic() - began < seconds, "it did not come"
        time.sleep(0.02)
    return time.monotonic() - began


def due(organization, addresses, *, kind="email", now):
    """Have a message due for each address."""
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    user = factories.UserFactory(organization=organization)
    alert = page(organization, policy=policy, users=[user], now=now)
    like = alert.notifications.get()
    methods = ContactMethod.objects.bulk_create(
        ContactMethod(user=user, kind=kind, label=f"L{n}", address=address, position=n, verified_at=now)
        for n, address in enumerate(addresses, 1)
    )
    alert.notifications.all().delete()
    rows = [copy(like) for _ in methods]
    for row, method in zip(rows, methods, strict=True):
        row.pk, row.contact_method, row.channel, row.address = uuid4(), method, kind, method.address
    Notification.objects.bulk_create(rows)
    return alert


def test_a_hanging_mail_holds_up_no_tick_no_other_channel_and_no_other_recipient(channel, ticks):
    organization = factories.OrganizationFactory()
    for number in range(20):
        due(organization, [f"hung{number}@example.com"], now=clock.now())
    until(lambda: len(channel.began) == 20, seconds=60)
    due(organization, ["https://hooks.example.com/1"], kind="webhook", now=clock.now())
    due(organization, ["ben@example.com"], now=clock.now())
    took = until(lambda: {"https://hooks.example.com/1", "ben@example.com"} <= channel.taken.keys())
    assert took < SOON
    until(lambda: Notification.objects.filter(status="accepted").count() == 2)
    assert max(ticks) < 1.0


def test_what_waits_is_looked_after_while_sends_hang(channel, ticks, monkeypatch):
    looks = []
    monkeypatch.setattr(deliver, "LOOK_AFTER", timedelta(seconds=0.2))
    monkeypatch.setattr(deliver, "send_probes", lambda *, now: looks.append(now))
    due(factories.OrganizationFactory(), ["hung@example.com"], now=clock.now())
    until(lambda: channel.began)
    before = len(looks)
    until(lambda: len(looks) >= before + 3)
    assert not channel.taken


def test_where_no_thread_can_be_started_the_next_tick_tries_again(channel, close_connections, monkeypatch):
    background = deliver._Background()
    monkeypatch.setattr(deliver, "_BACKGROUND", background)
    alert = due(factories.OrganizationFactory(), ["ben@example.com"], now=clock.now())
    with monkeypatch.context() as patch:
        patch.setattr(deliver.threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
        with pytest.raises(RuntimeError):
            dispatch_due(now=clock.now())
    dispatch_due(now=clock.now())
    until(lambda: alert.notifications.get().status == "accepted")
    until(lambda: not background._is_running)


def test_what_ended_while_the_database_was_away_is_recorded_and_not_sent_again(channel, monkeypatch, now):
    alert = due(factories.OrganizationFactory(), ["ben@example.com"], now=now)
    dispatcher = deliver.Dispatcher()
    with monkeypatch.context() as patch:
        patch.setattr(deliver, "record", Mock(side_effect=OperationalError("away")))
        dispatcher.tick(now=now)
        with pytest.raises(OperationalError):
            dispatcher.run()
    assert alert.notifications.get().status == "sending"
    dispatcher.tick(now=now + timedelta(minutes=5))
    dispatcher.run()
    assert (alert.notifications.get().status, alert.notifications.get().attempts) == ("accepted", 1)


def test_the_first_mails_of_everybody_else_pass_forty_hung_mailboxes(channel, ticks):
    organization = factories.OrganizationFactory()
    began = time.monotonic()
    hung = [f"hung{number}@example.com" for number in range(40)]
    due(organization, [*hung, *(f"well{number}@example.com" for number in range(10))], now=clock.now())
    until(lambda: sum(address.startswith("well") for address in channel.taken) == 10)
    assert max(at for address, at in channel.taken.items() if address.startswith("well")) - began < SOON


def test_hanging_webhooks_of_two_users_keep_no_other_organization_waiting(channel, ticks):
    theirs, others = factories.OrganizationFactory(), factories.OrganizationFactory()
    began = time.monotonic()
    hung = [f"https://hung{number % 2}.example.com/{number}" for number in range(18)]
    due(theirs, hung, kind="webhook", now=clock.now())
    due(others, ["https://hooks.example.com/1"], kind="webhook", now=clock.now())
    until(lambda: "https://hooks.example.com/1" in channel.taken)
    assert channel.taken["https://hooks.example.com/1"] - began < SOON
    assert time.monotonic() - began < SOON


def test_what_has_ended_is_recorded_although_no_tick_comes_any_more(channel, close_connections, monkeypatch):
    background = deliver._Background()
    monkeypatch.setattr(deliver, "_BACKGROUND", background)
    alert = due(factories.OrganizationFactory(), ["hung@example.com"], now=clock.now())
    dispatch_due(now=clock.now())
    until(lambda: channel.began)
    assert alert.notifications.get().status == "sending"
    channel.go.set()
    until(lambda: alert.notifications.get().status == "accepted")
    until(lambda: not background._is_running)


def under_way(organization, addresses, *, since, now):
    """Have messages to these addresses be under way for so long, in some worker."""
    alert = due(organization, addresses, now=now)
    lease = now + timedelta(seconds=60) - since
    for row in alert.notifications.all():
        values = {"status": "sending", "next_attempt_at": lease, "message_id": row.pk, "attempts": 1}
        Notification.objects.filter(pk=row.pk).update(**values)


def addresses_claimed(now, *, limit=500):
    return {claimed.notification.address for claimed in claim("email", due_by=now, now=now, limit=limit).messages}


def test_workers_share_what_an_organization_may_have_under_way_that_is_slow(now, close_connections):
    theirs, others = factories.OrganizationFactory(), factories.OrganizationFactory()
    half = SHARED // 2
    under_way(theirs, [f"hung{number}@example.com" for number in range(half)], since=timedelta(seconds=2), now=now)
    due(theirs, [f"more{number}@example.com" for number in range(100)], now=now - timedelta(minutes=1))
    due(others, ["ben@example.com"], now=now)
    claims = race(lambda: addresses_claimed(now), workers=2)
    assert set.union(*claims) == {"ben@example.com"}, "in both workers together"
    # When one of them has ended, there is room for one again.
    Notification.objects.filter(address="hung0@example.com").update(status="accepted", next_attempt_at=None)
    assert len(addresses_claimed(now)) == 1


@pytest.fixture
def two_that_look_at_once(monkeypatch, close_connections):
    """Have two workers claim, each after both have looked at the shares; return the addresses that both claimed.

    If they are not `locked`, nothing keeps one from looking before the other's leases are there.
    """

    def run(channel, *, locked=True, now):
        both, looks, turn = threading.Barrier(2), threading.local(), threading.Lock()
        look, lease = claims.shares, claims._lease

        def shares(*values, **names):
            found = look(*values, **names)
            looks.number = getattr(looks, "number", 0) + 1
            # With the lock it is the first look alone at which both can be.
            if looks.number == 1 or not locked:
                both.wait(timeout=20)
            return found

        def lease_in_turn(*values):
            with turn:
                return lease(*values)

        with monkeypatch.context() as patch:
            patch.setattr(claims, "shares", shares)
            if not locked:
                patch.setattr(claims, "_try_lock_shares", lambda channel: nullcontext(enter_result=True))
                patch.setattr(claims, "_lease", lease_in_turn)
            found = race(lambda: claim(channel, due_by=now, now=now, limit=500).messages, workers=2)
        return [claimed.notification.address for messages in found for claimed in messages]

    return run


@pytest.mark.parametrize(("locked", "number"), [(True, 3), (False, 6)], ids=["locked", "race"])
@pytest.mark.parametrize("window", [0, 5], ids=["alone", "bundled"])
def test_two_workers_that_look_at_once_do_not_double_what_an_organization_may_have(
    two_that_look_at_once, now, locked, number, window
):
    theirs, others = factories.OrganizationFactory(bundle_seconds=window), factories.OrganizationFactory()
    hung = SHARED // 2 - 3
    under_way(theirs, [f"hung{number}@example.com" for number in range(hung)], since=timedelta(seconds=2), now=now)
    due(theirs, [f"more{number}@example.com" for number in range(40)], now=now - timedelta(minutes=1))
    due(others, ["ben@example.com"], now=now)
    claimed = two_that_look_at_once("email", locked=locked, now=now)
    assert claimed.count("ben@example.com") == 1
    assert sum(address.startswith("more") for address in claimed) == number


@pytest.mark.parametrize("window", [0, 5], ids=["alone", "bundled"])
def test_two_workers_that_look_at_once_do_not_double_what_a_destination_may_have(two_that_look_at_once, now, window):
    organization = factories.OrganizationFactory(bundle_seconds=window)
    under_way(organization, ["https://x.example.com/hung"], since=timedelta(seconds=2), now=now)
    for number in range(10):
        due(organization, [f"https://x.example.com/{number}"], kind="webhook", now=now)
    due(organization, ["https://y.example.com/"], kind="webhook", now=now)
    Notification.objects.update(channel="webhook")
    claimed = two_that_look_at_once("webhook", now=now)
    assert sum(address.startswith("https://x.example.com/") for address in claimed) == TO_ONE - 1
    assert claimed.count("https://y.example.com/") == 1


def test_others_are_claimed_behind_thousands_of_which_only_one_may_go(now, monkeypatch):
    monkeypatch.setattr(claims, "LOOK_THROUGH", 5)
    theirs, others = factories.OrganizationFactory(bundle_seconds=0), factories.OrganizationFactory(bundle_seconds=0)
    under_way(
        theirs, [f"hung{number}@example.com" for number in range(SHARED // 2 - 1)], since=timedelta(seconds=2), now=now
    )
    due(theirs, [f"more{number}@example.com" for number in range(50)], now=now - timedelta(minutes=1))
    due(others, ["ben@example.com"], now=now)
    found = addresses_claimed(now, limit=16)
    assert "ben@example.com" in found
    assert len(found) == 2


def test_where_there_is_one_organization_it_uses_all_that_there_is(now):
    organization = factories.OrganizationFactory()
    under_way(organization, [f"hung{n}@example.com" for n in range(SHARED)], since=timedelta(seconds=2), now=now)
    due(organization, ["ana@example.com"], now=now)
    assert addresses_claimed(now) == {"ana@example.com"}


def test_what_is_under_way_for_less_than_a_second_limits_nobody(now):
    theirs = factories.OrganizationFactory()
    factories.OrganizationFactory()
    under_way(theirs, [f"quick{n}@example.com" for n in range(SHARED)], since=timedelta(seconds=0.9), now=now)
    due(theirs, ["ana@example.com"], now=now)
    assert addresses_claimed(now) == {"ana@example.com"}
    assert addresses_claimed(now + timedelta(seconds=1)) == set()


def test_a_lease_that_has_ended_holds_nobody(now):
    theirs = factories.OrganizationFactory()
    factories.OrganizationFactory()
    under_way(theirs, [f"lost{n}@example.com" for n in range(SHARED)], since=timedelta(seconds=60), now=now)
    due(theirs, ["ana@example.com"], now=now)
    assert "ana@example.com" in addresses_claimed(now)


@pytest.mark.parametrize(
    ("kind", "hung", "same", "other"),
    [
        ("email", "Ana@example.com", "ana@EXAMPLE.com", "ben@example.com"),
        ("webhook", "https://x.example.com/hung", "https://u:p@X.example.com/2?q", "https://y.example.com/hung"),
        (
            "push",
            '{"endpoint":"https://p.example.com/1"}',
            '{"endpoint": "https://p.example.com/2"}',
            '{"endpoint":"https://q.example.com/1"}',
        ),
    ],
)
def test_a_destination_that_has_two_slow_sends_gets_no_third(now, kind, hung, same, other):
    organization = factories.OrganizationFactory(bundle_seconds=0)
    for _ in range(TO_ONE):
        under_way(organization, [hung], since=timedelta(seconds=2), now=now)
    for address in (same, other):
        due(organization, [address], now=now)
    Notification.objects.update(channel=kind)
    found = claim(kind, due_by=now, now=now, limit=50).messages
    assert [claimed.notification.address for claimed in found] == [other]


def test_tests_and_codes_that_hang_hold_up_no_worker_and_no_page(channel, ticks):
    organization = factories.OrganizationFactory()
    user = factories.UserFactory(organization=organization)
    methods = [
        user.contact_methods.create(kind="webhook", label=f"L{n}", address=f"https://hung/{n}", verified_at=clock.now())
        for n in range(9)
    ]
    began = time.monotonic()
    for method in methods:
        send_test_message(contact_method_id=method.pk)
    assert time.monotonic() - began < 1.0
    due(organization, ["https://hooks.example.com/1"], kind="webhook", now=clock.now())
    until(lambda: "https://hooks.example.com/1" in channel.taken)
    assert channel.taken["https://hooks.example.com/1"] - began < SOON
    channel.go.set()
    until(lambda: len(channel.taken) == len(methods) + 1)
