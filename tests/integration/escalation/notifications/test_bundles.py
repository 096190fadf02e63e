"""Bundles in the outbox: one lease, one message, one outcome for all that travel in it; and many statements saved."""

import threading
import time
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import TimelineEntry
from alerting.services.alerts import close_alerts, hold
from escalation.channels.base import DeliveryError
from escalation.engine.advance import advance_escalations
from escalation.models.notifications import Notification
from escalation.notifications import claim as claims
from escalation.notifications import deliver
from escalation.notifications.claim import claim
from escalation.notifications.deliver import deliver_due, send
from escalation.notifications.outcomes import DeliveryOutcome, record
from escalation.notifications.providers import sender_pool
from escalation.notifications.providers.channel_pool import CHANNELS, ChannelPool
from escalation.notifications.providers.sender_pool import AHEAD, SENDER_POOL
from tests import factories
from tests.integration.escalation.posting import page, race, refused

pytestmark = pytest.mark.django_db
WINDOW = timedelta(seconds=5)
LONG = timedelta(minutes=1)


@pytest.fixture
def organization(db):
    return factories.OrganizationFactory(bundle_seconds=5)


@pytest.fixture
def ana(person):
    return person("ana")


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization, name="Rota", steps=[{"role": "primary"}])


def storm(organization, count, *, policy, users, now):
    """Open alerts for the same people, and send the first message: the others wait."""
    alerts = [page(organization, policy=policy, users=users, now=now, name=f"job {n}") for n in range(count)]
    deliver_due(now=now)
    return alerts


def ids_of(server):
    return [message.extra_headers["Message-ID"] for message in server.seen]


def test_a_lost_worker_leaves_a_bundle_that_is_sent_again_under_its_id(
    organization, ana, policy, server, now, settings
):
    storm(organization, 6, policy=policy, users=[ana], now=now)
    later = now + WINDOW
    (claimed,) = claim("email", due_by=later, now=later, limit=5).messages
    with ChannelPool() as channel_pool:
        send(claimed, channel_pool, claimed_at=time.monotonic(), now=later)
    # The worker dies here, before it could write down that the message was taken.
    lease = timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS)
    assert deliver_due(now=later + lease - timedelta(seconds=1)) == 0
    assert deliver_due(now=later + lease) == 1

    assert len(server.seen) == 3
    assert ids_of(server)[1] == ids_of(server)[2] != ids_of(server)[0]
    carried = Notification.objects.filter(message_id=claimed.message_id)
    assert set(carried.values_list("status", "attempts")) == {("accepted", 2)}
    assert carried.count() == 5


def test_who_comes_back_after_the_lease_of_a_bundle_writes_nothing(organization, ana, policy, server, now, settings):
    storm(organization, 4, policy=policy, users=[ana], now=now)
    (claimed,) = claim("email", due_by=now + WINDOW, now=now + WINDOW, limit=5).messages
    later = now + WINDOW + timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS)
    deliver_due(now=later)
    assert record([(claimed, DeliveryOutcome(error="lost", permanent=True))], now=later) == set()
    assert record([(claimed, DeliveryOutcome(provider_id="x"))], now=later) == set()
    assert TimelineEntry.objects.filter(kind="notified").count() == 4
    assert not TimelineEntry.objects.filter(kind="notification_failed").exists()


def test_a_bundle_that_is_sent_again_has_lost_what_was_closed_or_held_and_gained_nothing(
    organization, ana, policy, server, now
):
    _first, closed, held, *others = storm(organization, 6, policy=policy, users=[ana], now=now)
    server.answer("ana@example.com", DeliveryError("no answer", uncertain=True), None)
    deliver_due(now=now + WINDOW)
    again = Notification.objects.filter(status="pending").first().next_attempt_at
    close_alerts([closed.pk], reason="done", now=again)
    hold(held, actor=ana, now=again)
    new = page(organization, policy=policy, users=[ana], now=again, name="new")
    deliver_due(now=again)

    mails = [message for message in server.seen if "job 4" in message.body]
    assert len({mail.extra_headers["Message-ID"] for mail in mails}) == 1
    assert "3 alerts" in mails[-1].subject
    for absent in ("job 1", "job 2", "new"):
        assert absent not in mails[-1].body
    assert closed.notifications.get().status == "superseded"
    assert (held.notifications.get().status, held.notifications.get().message_id) == ("pending", None)
    assert new.notifications.get().status in {"accepted", "pending"}
    assert {alert.notifications.get().status for alert in others} == {"accepted"}


def test_what_surely_did_not_arrive_is_bundled_anew(organization, ana, policy, server, now):
    _first, closed, *others = storm(organization, 5, policy=policy, users=[ana], now=now)
    server.answer("ana@example.com", ConnectionRefusedError("refused"), None)
    deliver_due(now=now + WINDOW)
    again = Notification.objects.filter(status="pending").first().next_attempt_at
    close_alerts([closed.pk], reason="done", now=again)
    new = page(organization, policy=policy, users=[ana], now=again, name="new")
    deliver_due(now=again)
    first, bundle = server.seen[2:]
    assert "new" in first.subject, "what never failed goes first, and is not risked with what did"
    assert "3 alerts" in bundle.subject
    assert "job 1" not in bundle.body, "closed meanwhile"
    assert "new" not in bundle.body
    assert len(set(ids_of(server))) == len(server.seen)
    deliver_due(now=again + WINDOW)
    assert {alert.notifications.get().status for alert in (*others, new)} == {"accepted"}


def test_all_of_a_bundle_come_back_together(organization, ana, policy, server, now):
    storm(organization, 20, policy=policy, users=[ana], now=now)
    server.answer("ana@example.com", ConnectionRefusedError("refused"))
    deliver_due(now=now + WINDOW)
    waiting = Notification.objects.filter(status="pending")
    assert waiting.count() == 19
    assert set(waiting.values_list("message_id", flat=True)) == {None}
    assert len(set(waiting.values_list("next_attempt_at"))) == 1


def test_when_a_bundle_fails_each_alert_goes_to_the_next_method(organization, ana, policy, server, now):
    ana.contact_methods.create(label="Email-Home", address="home@example.com", delay_minutes=10, verified_at=now)
    alerts = storm(organization, 5, policy=policy, users=[ana], now=now)
    server.answer("ana@example.com", refused("ana@example.com", 550))
    deliver_due(now=now + WINDOW)
    deliver_due(now=now + WINDOW + WINDOW)
    assert server.sent_to() == ["ana@example.com", "ana@example.com", "home@example.com", "home@example.com"]
    notification = Notification.objects.filter(label="Email-Home", status="accepted")
    assert {row.alert_id for row in notification} == {alert.pk for alert in alerts[1:]}
    said = alerts[1].timeline.get(kind="notification_failed").text
    assert said.startswith(
        "E-mail to Ana (Email-Official): failed: 550 no, in one message with 3 other alerts (message "
    )


def test_when_a_bundle_fails_each_walk_goes_on_at_once(organization, ana, person, server, now):
    team = factories.GroupFactory(organization=organization, primary=[ana], secondary=[person("sam")])
    policy = factories.PolicyFactory(organization=organization)
    alerts = [page(organization, policy=policy, groups=[team], now=now, name=f"job {n}") for n in range(30)]
    deliver_due(now=now)
    server.answer("ana@example.com", refused("ana@example.com", 550))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        deliver_due(now=now + WINDOW)
    assert len(queries) < 30, "what follows a failure is written for all at once"
    advance_escalations(now=now + WINDOW)
    deliver_due(now=now + WINDOW)
    deliver_due(now=now + WINDOW + WINDOW)
    sams = Notification.objects.filter(user__name="Sam")
    assert sams.count() == 29
    assert set(sams.values_list("status", flat=True)) == {"accepted"}
    assert alerts[0].run.step == 1


def test_when_a_bundle_fails_at_the_end_of_its_walks_the_owner_is_notified_of_each(
    organization, ana, person, policy, server, now
):
    person("olga", roles=["Owner"])
    alerts = storm(organization, 4, policy=policy, users=[ana], now=now)
    server.answer("ana@example.com", refused("ana@example.com", 550))
    deliver_due(now=now + WINDOW)
    assert server.sent_to().count("olga@example.com") == 1
    deliver_due(now=now + WINDOW * 2)
    assert server.sent_to().count("olga@example.com") == 2  # the second lists the other two
    assert not alerts[0].timeline.filter(kind="last_resort").exists()
    for alert in alerts[1:]:
        assert alert.timeline.filter(kind="last_resort").count() == 1


def test_a_bundle_that_kills_its_worker_each_time_is_given_up(organization, ana, policy, server, now):
    storm(organization, 3, policy=policy, users=[ana], now=now)
    at = now + WINDOW
    for attempt in range(2):
        (claimed,) = claim("email", due_by=at, now=at, limit=5).messages
        assert claimed.attempts == attempt + 1
        at += LONG
    deliver_due(now=at)
    assert Notification.objects.filter(kind="page", status="failed").count() == 2


def test_a_changed_address_gets_what_was_written_for_the_one_before(organization, ana, policy, server, now):
    storm(organization, 5, policy=policy, users=[ana], now=now)
    ana.contact_methods.update(address="new@example.com")
    deliver_due(now=now + WINDOW)
    assert server.sent_to() == ["ana@example.com", "new@example.com"]


def test_without_its_contact_method_a_bundle_is_not_sent_again_and_fails_as_one(
    organization, ana, policy, server, now, settings
):
    home = ana.contact_methods.create(label="Email-Home", address="home@example.com", verified_at=now)
    storm(organization, 4, policy=policy, users=[ana], now=now)
    first = claim("email", due_by=now + WINDOW, now=now + WINDOW, limit=5).messages
    home.delete()
    deliver_due(now=now + WINDOW + timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS))
    assert sorted(server.sent_to()) == ["ana@example.com"] * 2 + ["home@example.com"]
    assert len({f"<{claimed.message_id}@127.0.0.1>" for claimed in first} - set(ids_of(server))) == 1
    assert Notification.objects.filter(status="failed", address="home@example.com").count() == 3


def test_a_storm_costs_statements_by_the_message_not_by_the_alert(organization, ana, policy, server, now):
    counted = {}
    for count in (10, 100):
        Notification.objects.all().delete()
        for number in range(count):
            page(organization, policy=policy, users=[ana], now=now, name=f"job {number}")
        with CaptureQueriesContext(connection) as queries:
            assert deliver_due(now=now) == 1
            assert deliver_due(now=now + WINDOW) == 1
        counted[count] = len(queries)
        now += LONG
    assert counted[100] == counted[10] <= 37


def take(at):
    return claim("email", due_by=at, now=at, limit=50)


@pytest.mark.parametrize("after", [1, -2], ids=["", "written by a detector that had begun before it was closed"])
def test_what_comes_to_a_closed_bundle_window_waits_from_the_start_and_goes_when_it_opens(
    organization, ana, policy, server, now, after
):
    storm(organization, 1, policy=policy, users=[ana], now=now)
    later, opens = now + timedelta(seconds=after), now + WINDOW
    for number in range(3):
        page(organization, policy=policy, users=[ana], now=later, name=f"late {number}")

    waiting = Notification.objects.filter(status="pending")
    assert list(waiting.values_list("next_attempt_at", flat=True)) == [opens] * 3
    assert deliver_due(now=later) == 0
    assert deliver_due(now=opens) == 1
    assert len(server.seen) == 2


@pytest.mark.parametrize("bundle_seconds", [0, 5])
def test_nothing_waits_for_a_bundle_window_that_is_open_or_was_closed_before_the_clock_was_set_back(
    organization, ana, policy, server, now, bundle_seconds
):
    storm(organization, 1, policy=policy, users=[ana], now=now)
    organization.bundle_seconds = bundle_seconds
    organization.save()
    for at in (now - 2 * LONG, now + WINDOW):
        alert = page(organization, policy=policy, users=[ana], now=at, name=f"at {at}")
        assert alert.notifications.get().next_attempt_at == at


def test_nothing_waits_where_messages_are_not_collected_any_more(organization, ana, policy, server, now):
    storm(organization, 1, policy=policy, users=[ana], now=now)
    organization.bundle_seconds = 0
    organization.save()
    alert = page(organization, policy=policy, users=[ana], now=now + timedelta(seconds=1), name="late")
    assert alert.notifications.get().next_attempt_at == now + timedelta(seconds=1)


@pytest.mark.parametrize("locked", [True, False], ids=["with the lock", "negative control: without it"])
def test_two_workers_claim_one_message_for_one_bundle_window(
    now, close_connections, server, transactional_db, monkeypatch, locked
):
    text = claims.statement
    # Slow enough that workers which start together meet in the middle of the bundle window.
    slow = "WHERE pg_sleep(0.003)::text IS NOT NULL AND notification.channel"
    racing = text("escalation", "claim_bundles").replace("WHERE notification.channel", slow)
    if not locked:
        racing = racing.replace("FOR UPDATE OF bundle_window SKIP LOCKED", "")
    monkeypatch.setattr(claims, "statement", lambda app, name: racing if name == "claim_bundles" else text(app, name))
    organization = factories.OrganizationFactory(bundle_seconds=5)
    ana = factories.UserFactory(organization=organization)
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    sent = []
    for retry in range(3 if locked else 30):
        at = now + LONG * retry
        for number in range(30):
            page(organization, policy=policy, users=[ana], now=at, name=f"job {number}")
        for moment in (at, at + WINDOW):
            found = race(lambda moment=moment: take(moment), workers=4)
            sent.append([message.alerts for some in found for message in some.messages])
            # What was sent is answered: a slow send would let one worker at a time look at this person.
            Notification.objects.filter(status="sending").update(status="accepted", next_attempt_at=None)
        Notification.objects.update(status="superseded", next_attempt_at=None)
        if not locked and sent[-2:] != [[1], [29]]:
            break
    if locked:
        assert sent == [[1], [29]] * 3
    else:
        assert sent[-2:] != [[1], [29]], "the race did not happen: this test proves nothing"


def test_two_workers_send_a_bundle_again_as_one(now, close_connections, server, transactional_db, settings):
    organization = factories.OrganizationFactory(bundle_seconds=5)
    ana = factories.UserFactory(organization=organization)
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    for number in range(60):
        page(organization, policy=policy, users=[ana], now=now, name=f"job {number}")
    take(now)
    (claimed,) = take(now + WINDOW).messages
    Notification.objects.exclude(message_id=claimed.message_id).update(status="superseded", next_attempt_at=None)
    at = now + WINDOW
    for _ in range(5):
        at += timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS)
        found = [message for some in race(lambda at=at: take(at), workers=4) for message in some.messages]
        assert [(message.message_id, message.alerts) for message in found] == [(claimed.message_id, 59)]


class SlowChannel:
    """Counts how many messages are under way at once, and lets none go before the test says so."""

    under_way = most = 0
    lock = threading.Lock()
    go: threading.Event

    def send(self, message):
        cls = type(self)
        with cls.lock:
            cls.under_way += 1
            cls.most = max(cls.most, cls.under_way)
        cls.go.wait(timeout=30)
        with cls.lock:
            cls.under_way -= 1
        return f"slow-{message.id}"

    def close(self):
        pass


@pytest.fixture
def slow(monkeypatch, settings):
    class Slow(SlowChannel):
        go = threading.Event()
        lock = threading.Lock()

    monkeypatch.setitem(CHANNELS, "slow", Slow)
    # On a busy machine nothing is put back for having waited.
    monkeypatch.setattr(deliver, "STALE_SECONDS", 60.0)
    monkeypatch.setattr(sender_pool, "SLOW_SECONDS", 60.0)
    settings.CHANNEL_CONCURRENCY = {"email": 4, "slow": 3}
    yield Slow
    Slow.go.set()


def people_on(organization, count, *, channel, now, policy):
    """Page so many people, over a channel of this name."""
    people = [factories.UserFactory(organization=organization, name=f"P{n} {channel}") for n in range(count)]
    alert = page(organization, policy=policy, users=people, now=now, name=channel)
    alert.notifications.update(channel=channel)
    return alert


def deliver_and_leave(now):
    """Send what is due from a thread with a connection of its own."""
    try:
        deliver_due(now=now)
    finally:
        connection.close()


def test_a_slow_provider_does_not_hold_the_others_back_and_gets_no_more_than_its_limit(
    now, close_connections, server, transactional_db, slow
):
    organization = factories.OrganizationFactory()
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    waiting = people_on(organization, 20, channel="slow", now=now, policy=policy)
    mails = people_on(organization, 40, channel="email", now=now, policy=policy)
    worker = threading.Thread(target=deliver_and_leave, args=[now])
    worker.start()
    until(lambda: mails.notifications.filter(status="accepted").count() == 40)
    assert not waiting.notifications.filter(status="accepted").exists()
    assert waiting.notifications.filter(status="sending").count() <= AHEAD * 3, (
        "no more is claimed than can be sent soon"
    )
    slow.go.set()
    worker.join(timeout=60)
    assert waiting.notifications.filter(status="accepted").count() == 20
    assert slow.most == 3
    assert SENDER_POOL.reserve("slow") == AHEAD * 3, "every place was given back"
    SENDER_POOL.release("slow", AHEAD * 3)


def test_two_rounds_of_one_worker_share_its_lines(now, close_connections, server, transactional_db, slow):
    organization = factories.OrganizationFactory()
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    waiting = people_on(organization, 20, channel="slow", now=now, policy=policy)
    rounds = [threading.Thread(target=deliver_and_leave, args=[now]) for _ in range(3)]
    for thread in rounds:
        thread.start()
    until(lambda: slow.under_way == 3)
    slow.go.set()
    for thread in rounds:
        thread.join(timeout=60)
    assert waiting.notifications.filter(status="accepted").count() == 20
    assert slow.most == 3


def until(answer):
    """Wait until the answer is yes; the test's own timeout ends what never comes."""
    while not answer():
        threading.Event().wait(0.01)


def test_a_message_id_is_its_own_id_for_a_message_that_travels_alone(organization, ana, policy, server, now):
    (alert,) = storm(organization, 1, policy=policy, users=[ana], now=now)
    notification = alert.notifications.get()
    assert notification.message_id == notification.pk
    assert isinstance(notification.message_id, UUID)
