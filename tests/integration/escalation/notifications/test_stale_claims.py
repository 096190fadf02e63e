"""What was claimed and had to wait for its line is not sent on what was true at the claim: the next claim judges it."""

import threading
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection

from alerting.services.alerts import assign
from escalation.models.notifications import Notification
from escalation.notifications import deliver
from escalation.notifications.claim import claim
from escalation.notifications.deliver import STALE_SECONDS, deliver_due, send
from escalation.notifications.providers import sender_pool
from escalation.notifications.providers.channel_pool import CHANNELS, ChannelPool
from escalation.notifications.providers.sender_pool import AHEAD
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db
SLOW = 10.0


class Stopwatch:
    """Time as the delivery measures it, which passes only when a test says so."""

    seconds = 1_000.0

    def monotonic(self):
        return self.seconds


class Channel:
    """Takes ten seconds for each message, and does meanwhile what the test wants."""

    def __init__(self, watch):
        self.watch = watch
        self.addresses = []
        self.meanwhile = lambda: None

    def send(self, message):
        self.addresses.append(message.address)
        self.meanwhile()
        self.watch.seconds += SLOW
        return "taken"

    def close(self):
        """Have nothing to let go of."""


@pytest.fixture
def watch(monkeypatch):
    made = Stopwatch()
    monkeypatch.setattr(deliver, "time", made)
    return made


@pytest.fixture
def slow(monkeypatch, watch):
    channel = Channel(watch)
    monkeypatch.setitem(CHANNELS, "email", lambda: channel)
    return channel


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization, name="Rota", steps=[{"role": "primary"}])


def deliver_until_quiet(now, watch, *, most=50):
    """Deliver each second, as the tick does, until nothing is left; return how many rounds it took."""
    began = watch.seconds
    for rounds in range(most):
        if not Notification.objects.filter(next_attempt_at__isnull=False).exists():
            return rounds
        watch.seconds += 1
        deliver_due(now=now + timedelta(seconds=watch.seconds - began))
    raise AssertionError("delivery does not come to an end")


def test_an_alert_that_is_taken_while_its_message_waits_for_a_slot_is_not_notified_any_more(
    organization, person, policy, slow, watch, now
):
    ana, bob = person("ana"), person("bob")
    page(organization, policy=policy, users=[ana], now=now)
    taken = page(organization, policy=policy, users=[bob], now=now, name="other")
    slow.meanwhile = lambda: assign(taken, actor=bob, to=bob, now=now)
    deliver_due(now=now)
    waiting = taken.notifications.get()
    assert (waiting.status, waiting.attempts, waiting.message_id) == ("pending", 0, waiting.pk)
    deliver_until_quiet(now, watch)
    assert slow.addresses == ["ana@example.com"]
    assert taken.notifications.get().status == "superseded"


@pytest.mark.django_db(transaction=True)
def test_the_same_where_threads_send(transactional_db, close_connections, monkeypatch, settings, watch, now):
    settings.CHANNEL_CONCURRENCY = {"email": 2}
    monkeypatch.setattr(sender_pool, "SLOW_SECONDS", 60.0)
    under_way, go = threading.Semaphore(0), threading.Event()
    addresses = []

    def hang(message):
        addresses.append(message.address)
        under_way.release()
        assert go.wait(timeout=30)
        return "taken"

    monkeypatch.setitem(CHANNELS, "email", lambda: SimpleNamespace(send=hang, close=lambda: None))
    organization = factories.OrganizationFactory()
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    people = [factories.UserFactory(organization=organization, email=f"p{number}@example.com") for number in range(4)]
    alerts = [page(organization, policy=policy, users=[who], now=now, name=str(who)) for who in people]

    def work():
        try:
            deliver_due(now=now)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    assert under_way.acquire(timeout=30)
    assert under_way.acquire(timeout=30)
    waiting = [alert for alert, who in zip(alerts, people, strict=True) if who.email not in addresses]
    assert set(Notification.objects.filter(alert__in=waiting).values_list("status", flat=True)) == {"sending"}
    assign(waiting[0], actor=people[0], to=people[0], now=now)
    watch.seconds += SLOW
    go.set()
    worker.join(timeout=60)
    assert len(addresses) == 2

    deliver_due(now=now + timedelta(seconds=SLOW + 1))
    assert sorted(addresses) == sorted(
        who.email for alert, who in zip(alerts, people, strict=True) if alert != waiting[0]
    )
    assert [alert.notifications.get().status for alert in waiting] == ["superseded", "accepted"]


def test_however_slow_a_channel_is_everything_goes_out_once(organization, person, policy, slow, watch, now):
    people = [person(f"p{number}") for number in range(7)]
    for who in people:
        page(organization, policy=policy, users=[who], now=now, name=str(who))
    rounds = deliver_until_quiet(now, watch)
    assert sorted(slow.addresses) == [who.email for who in people]
    assert set(Notification.objects.values_list("status", "attempts")) == {("accepted", 1)}
    assert rounds == len(people), "each round sends what its line can take"


@pytest.mark.parametrize("bundle_seconds", [0, 5])
def test_what_was_put_back_has_its_turn_although_more_comes_all_the_time(
    organization, person, policy, slow, watch, now, bundle_seconds
):
    organization.bundle_seconds = bundle_seconds
    organization.save()
    people = [person(f"p{number}") for number in range(4)]
    for who in people:
        page(organization, policy=policy, users=[who], now=now, name=str(who))
    for number in range(3 * len(people)):
        moment = now + number * timedelta(seconds=SLOW + 1)
        for more in "ab":
            page(organization, policy=policy, users=[person(f"late{number}{more}")], now=moment)
        deliver_due(now=moment)
    assert len(slow.addresses) == 3 * len(people)
    assert {who.email for who in people} <= set(slow.addresses)


def test_a_claim_that_takes_long_keeps_nothing_from_being_sent(
    organization, person, policy, server, watch, now, monkeypatch
):
    def claim_slowly(*arguments, **options):
        watch.seconds += SLOW
        return claim(*arguments, **options)

    monkeypatch.setattr(deliver, "claim", claim_slowly)
    page(organization, policy=policy, users=[person("ana")], now=now)
    deliver_due(now=now)
    assert server.sent_to() == ["ana@example.com"]


def test_all_that_travels_in_one_message_goes_back_together_and_is_judged_one_by_one(
    organization, person, policy, slow, watch, now
):
    organization.bundle_seconds = 5
    organization.save()
    ana, bob = person("ana"), person("bob")
    alerts = [page(organization, policy=policy, users=[ana], now=now, name=f"job {number}") for number in range(5)]
    deliver_due(now=now)
    page(organization, policy=policy, users=[bob], now=now, name="first in line")
    later = now + timedelta(seconds=5)
    Notification.objects.filter(user=bob).update(urgency=Notification.Urgency.FIRST, created_at=now - timedelta(days=1))
    deliver_due(now=later)
    waiting = Notification.objects.filter(alert__in=alerts, status="pending")
    (message_id,) = set(waiting.values_list("message_id", flat=True))
    assert (waiting.count(), set(waiting.values_list("attempts", flat=True))) == (4, {0})

    assign(waiting.first().alert, actor=ana, to=ana, now=later)
    deliver_until_quiet(later + timedelta(seconds=SLOW), watch)
    assert Counter(Notification.objects.filter(message_id=message_id).values_list("status", flat=True)) == {
        "accepted": 3,
        "superseded": 1,
    }
    assert slow.addresses.count(ana.email) == 2


def test_what_a_lost_worker_may_have_sent_is_not_put_back_as_if_nobody_had_tried(notification, now, settings):
    first = notification()
    Notification.objects.update(status="pending", accepted_at=None, next_attempt_at=now)
    claim("sms", due_by=now, now=now, limit=1)
    later = now + timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS)
    (claimed,) = claim("sms", due_by=later, now=later, limit=AHEAD).messages
    with ChannelPool() as channel_pool:
        long_ago = deliver.time.monotonic() - STALE_SECONDS - 1
        outcome = send(claimed, channel_pool, claimed_at=long_ago, now=later)
    assert claimed.notification == first
    assert (outcome.permanent, outcome.later) == (True, None)
