"""The outbox: back-off, leases, what follows a failure."""

import re
import smtplib
import ssl
import time
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import OperationalError

from alerting.services.alerts import assign, hold, resume
from escalation.channels.base import DeliveryError
from escalation.channels.send_deadline import seconds_left
from escalation.engine.advance import advance_escalations
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.notifications import deliver
from escalation.notifications.claim import claim
from escalation.notifications.deliver import deliver_due, send
from escalation.notifications.outcomes import DeliveryOutcome, back_off, record, retry_now
from escalation.notifications.providers.channel_pool import CHANNELS, ChannelPool
from tests import factories
from tests.integration.escalation.posting import page, refused

pytestmark = pytest.mark.django_db


def seconds(value):
    return timedelta(seconds=value)


@pytest.fixture
def ana(person):
    return person("ana")


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization, name="Rota", steps=[{"role": "primary"}])


def deliver_until_quiet(now, *, most=50):
    """Deliver at each moment at which something is due; return the moments."""
    moments = []
    for _ in range(most):
        due = Notification.objects.filter(next_attempt_at__isnull=False).order_by("next_attempt_at").first()
        if due is None:
            return moments
        moments.append(max(now, due.next_attempt_at))
        deliver_due(now=moments[-1])
        advance_escalations(now=moments[-1])
    raise AssertionError("delivery does not come to an end")


def claim_one(now):
    """Claim the one message that is due."""
    (claimed,) = claim("email", due_by=now, now=now, limit=5).messages
    return claimed


def lines(alert, kind):
    return list(alert.timeline.filter(kind=kind).values_list("text", flat=True))


def test_an_accepted_message_is_written_down_with_its_id(organization, ana, policy, server, now):
    alert = page(organization, policy=policy, users=[ana], now=now)
    assert deliver_due(now=now) == 1
    (notification,) = alert.notifications.all()
    assert (notification.status, notification.accepted_at, notification.attempts) == ("accepted", now, 1)
    assert notification.provider_id == f"<{notification.pk}@127.0.0.1>"
    assert lines(alert, "notified") == ["E-mail to Ana (Email-Official): sent"]


def test_a_server_that_is_away_is_tried_with_growing_pauses_and_never_given_up(organization, ana, policy, server, now):
    alert = page(organization, policy=policy, users=[ana], now=now)
    server.answer("ana@example.com", ConnectionRefusedError("Connection refused"))
    moments, mine = [], alert.notifications.filter(kind="page")
    for _ in range(12):
        moments.append(mine.get().next_attempt_at)
        deliver_due(now=moments[-1])
    waits = [later - earlier for earlier, later in pairwise(moments)]
    for wait, least in zip(waits, [5, 15, 30, 120, *[300] * 7], strict=True):
        assert seconds(least) <= wait <= seconds(least * 1.2)
    assert (mine.get().status, mine.get().attempts, mine.get().failing_since) == ("pending", 12, now)
    assert lines(alert, "notification_failed") == [
        "E-mail to Ana (Email-Official): failed, tried again: ConnectionRefusedError: Connection refused"
    ], "once, however often it is tried"
    server.answer("ana@example.com", None)
    deliver_due(now=mine.get().next_attempt_at)
    assert (mine.get().status, mine.get().failing_since) == ("accepted", None)
    assert re.search(r"sent, after it had failed for [345]\d minutes", lines(alert, "notified")[-1])


def test_to_a_phone_at_most_three_tries_go_in_an_hour(organization, ana, policy, server, now, monkeypatch):
    ana.contact_methods.create(kind="sms", label="Mine", address="somewhere", position=0, verified_at=now)
    tried = failing(monkeypatch, "sms", DeliveryError("503 Service Unavailable"))
    page(organization, policy=policy, users=[ana], now=now)
    mine = Notification.objects.filter(label="Mine")
    for minute in range(0, 6 * 60, 4):
        moment = now + timedelta(minutes=minute)
        # Its channel seems to work now and then: what waits goes at once, within the same bound.
        if minute % 7 < 3:
            retry_now({("sms", "")}, now=moment)
        before = len(tried)
        deliver_due(now=moment)
        tried[before:] = [moment] * (len(tried) - before)
    for moment in tried:
        assert sum(moment <= other < moment + timedelta(hours=1) for other in tried) <= 3
    assert len(tried) >= 11, "and it is never given up"
    assert mine.get().status == "pending"


def failing(monkeypatch, channel, error):
    """Let every try on the channel fail in this way; return what was tried."""

    def fail(message):
        tried.append(message)
        raise error

    tried = []
    monkeypatch.setitem(CHANNELS, channel, lambda: SimpleNamespace(send=fail, close=lambda: None))
    return tried


def test_a_server_that_comes_back_gets_the_message_after_all(organization, ana, policy, server, now):
    alert = page(organization, policy=policy, users=[ana], now=now)
    server.answer("ana@example.com", TimeoutError("timed out"), smtplib.SMTPServerDisconnected("gone"), None)
    deliver_until_quiet(now)
    notification = alert.notifications.get()
    assert (notification.status, notification.attempts, notification.last_error) == ("accepted", 3, "")


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (refused("ana@example.com", 550), True),
        (refused("ana@example.com", 451), False),
        (smtplib.SMTPDataError(554, b"rejected"), True),
        (smtplib.SMTPDataError(452, b"full"), False),
        (smtplib.SMTPSenderRefused(550, b"who are you", "us@example.com"), False),
        (smtplib.SMTPAuthenticationError(535, b"wrong password"), False),
        (OSError("unreachable"), False),
        # Raised while we talk, by a message that can be written.
        (UnicodeEncodeError("ascii", "é", 0, 1, "no"), False),
        (ssl.SSLCertVerificationError("expired"), False),
    ],
)
def test_only_what_cannot_get_better_fails_at_once(organization, ana, policy, server, now, error, permanent):
    alert = page(organization, policy=policy, users=[ana], now=now)
    server.answer("ana@example.com", error)
    deliver_due(now=now)
    assert alert.notifications.get(kind="page").status == ("failed" if permanent else "pending")


def test_after_a_failure_the_persons_next_method_is_used_at_once(organization, ana, policy, server, now):
    ana.contact_methods.create(label="Email-Home", address="home@example.com", delay_minutes=10, verified_at=now)
    alert = page(organization, policy=policy, users=[ana], now=now)
    server.answer("ana@example.com", refused("ana@example.com", 550))
    deliver_due(now=now)
    assert server.sent_to() == ["ana@example.com", "home@example.com"]
    assert alert.run.step == 1


def test_after_the_last_method_the_next_step_comes_at_once(organization, ana, person, server, now):
    team = factories.GroupFactory(organization=organization, name="Ops", primary=[ana], secondary=[person("sam")])
    policy = factories.PolicyFactory(organization=organization)
    alert = page(organization, policy=policy, groups=[team], now=now)
    server.answer("ana@example.com", refused("ana@example.com", 550))
    deliver_due(now=now)
    advance_escalations(now=now)
    deliver_due(now=now)
    assert server.sent_to() == ["ana@example.com", "sam@example.com"]
    assert alert.notifications.get(user__name="Sam").status == "accepted"


def test_while_somebody_else_of_the_step_was_notified_the_walk_keeps_its_times(organization, ana, person, server, now):
    team = factories.GroupFactory(organization=organization, primary=[ana, person("bob")], secondary=[person("sam")])
    policy = factories.PolicyFactory(organization=organization)
    page(organization, policy=policy, groups=[team], now=now)
    server.answer("ana@example.com", refused("ana@example.com", 550))
    deliver_due(now=now)
    assert EscalationRun.objects.get().next_step_at == now + timedelta(minutes=5)


def test_when_every_message_of_a_walk_failed_the_owner_is_notified(organization, ana, person, policy, server, now):
    person("olga", roles=["Owner"])
    alert = page(organization, policy=policy, users=[ana, person("bob")], now=now)
    for name in ("ana", "bob"):
        server.answer(f"{name}@example.com", refused(f"{name}@example.com", 550, b"no such user"))
    deliver_due(now=now)
    assert server.sent_to()[-1] == "olga@example.com"
    assert server.sent_to().count("olga@example.com") == 1
    assert lines(alert, "last_resort") == [
        "Every notification of “Rota” failed. Notifying Olga instead.",
    ]


def test_when_the_owner_cannot_be_notified_either_the_log_says_so(
    organization, ana, person, policy, server, now, caplog
):
    person("olga", roles=["Owner"])
    alert = page(organization, policy=policy, users=[ana], now=now)
    for name in ("ana", "olga"):
        server.answer(f"{name}@example.com", refused(f"{name}@example.com", 550))
    deliver_due(now=now)
    assert len(lines(alert, "notification_failed")) == 2
    assert "the last resort of alert" in caplog.text


def test_a_lost_worker_leaves_a_lease_and_the_message_is_sent_again_under_its_id(
    organization, ana, policy, server, now, settings
):
    page(organization, policy=policy, users=[ana], now=now)
    claimed = claim_one(now)
    with ChannelPool() as channel_pool:
        send(claimed, channel_pool, claimed_at=time.monotonic(), now=now)
    # The worker dies here, before it could write down that the message was taken.
    lease = seconds(settings.NOTIFICATION_LEASE_SECONDS)
    assert deliver_due(now=now + lease - seconds(1)) == 0
    assert deliver_due(now=now + lease) == 1
    first, second = server.seen
    assert first.extra_headers["Message-ID"] == second.extra_headers["Message-ID"]
    assert Notification.objects.get().attempts == 2


@pytest.mark.parametrize("kind", ["recovery", "notice", "page", "last_resort"])
def test_nothing_is_given_up_for_a_provider_that_has_its_fill(
    organization, ana, policy, server, now, monkeypatch, kind
):
    def full(message):
        raise DeliveryError("full", retry_after=seconds(20), untried=True)

    monkeypatch.setitem(CHANNELS, "email", lambda: SimpleNamespace(send=full, close=lambda: None))
    page(organization, policy=policy, users=[ana], now=now)
    Notification.objects.update(kind=kind)
    for minute in range(30):
        deliver_due(now=now + timedelta(minutes=minute))

    notification = Notification.objects.get(kind=kind, step=1)
    assert (notification.status, notification.attempts) == ("pending", 0)


def test_a_hold_does_not_make_a_phone_ring_twice_for_what_a_lost_worker_sent(
    organization, ana, policy, server, now, settings, monkeypatch
):
    ana.contact_methods.create(kind="sms", label="SMS", address="+4930123456", verified_at=now)
    woken = []
    monkeypatch.setitem(CHANNELS, "sms", lambda: SimpleNamespace(send=woken.append, close=lambda: None))
    alert = page(organization, policy=policy, users=[ana], now=now)
    (claimed,) = claim("sms", due_by=now, now=now, limit=5).messages
    with ChannelPool() as channel_pool:
        send(claimed, channel_pool, claimed_at=time.monotonic(), now=now)
    # The worker dies here, and somebody puts the alert on hold before the lease ends.
    hold(alert, actor=ana, now=now)
    deliver_due(now=now + seconds(settings.NOTIFICATION_LEASE_SECONDS))
    assert "it may have arrived" in lines(alert, "notification_failed")[0]
    resume(alert, actor=ana, now=now)
    deliver_due(now=now + timedelta(hours=1))
    assert len(woken) == 1


def test_a_message_that_may_have_arrived_goes_out_whole_if_one_part_of_it_is_due(
    organization, ana, policy, server, now
):
    organization.bundle_seconds = 5
    organization.save()
    for number in range(3):
        page(organization, policy=policy, users=[ana], now=now, name=f"job {number}")
    deliver_due(now=now)
    server.answer("ana@example.com", DeliveryError("no answer", uncertain=True))
    deliver_due(now=now + seconds(5))
    parts = Notification.objects.filter(status="pending", unknown_outcomes=1)
    assert parts.count() == 2
    Notification.objects.filter(pk=parts.first().pk).update(next_attempt_at=now + seconds(6))
    server.answer("ana@example.com", None)
    deliver_due(now=now + seconds(6))
    assert not parts.exists()
    assert len(server.seen) == 3, "the first page, and the other two twice in one message"


def test_a_call_is_not_lost_because_the_database_could_not_be_asked_before(
    organization, ana, policy, server, now, monkeypatch
):
    ana.contact_methods.create(kind="voice", label="Call", address="+4930123456", verified_at=now)
    send = Mock(return_value="CA1")
    monkeypatch.setitem(CHANNELS, "voice", lambda: SimpleNamespace(send=send, close=int))
    alert = page(organization, policy=policy, users=[ana], now=now)
    with monkeypatch.context() as patch:
        patch.setattr(deliver, "acquire", Mock(side_effect=OperationalError("no connection is free")))
        deliver_due(now=now)
    call = alert.notifications.get(label="Call")
    assert (call.status, call.attempts, call.possibly_sent_at, send.call_count) == ("pending", 0, None, 0)
    deliver_due(now=now + seconds(1))
    assert send.call_count == 1


@pytest.mark.parametrize(("lease", "most"), [(60, 30), (10, 5)])
def test_a_send_is_over_before_its_lease_however_short_that_is(
    organization, ana, policy, now, monkeypatch, settings, lease, most
):
    settings.NOTIFICATION_LEASE_SECONDS = lease
    left = []

    def send(_):
        left.append(seconds_left())
        return "taken"

    monkeypatch.setitem(CHANNELS, "email", lambda: SimpleNamespace(send=send, close=int))
    page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    assert left == [pytest.approx(most, abs=2)]


def test_who_comes_back_after_the_lease_writes_nothing(organization, ana, policy, server, now, settings):
    alert = page(organization, policy=policy, users=[ana], now=now)
    claimed = claim_one(now)
    later = now + seconds(settings.NOTIFICATION_LEASE_SECONDS)
    deliver_due(now=later)
    assert record([(claimed, DeliveryOutcome(error="lost"))], now=later) == set()
    assert record([(claimed, DeliveryOutcome(provider_id="x"))], now=later) == set()
    assert len(lines(alert, "notified")) == 1
    assert alert.notifications.get().status == "accepted"


def test_who_comes_back_while_another_is_sending_writes_nothing(organization, ana, policy, server, now, settings):
    page(organization, policy=policy, users=[ana], now=now)
    first = claim_one(now)
    later = now + seconds(settings.NOTIFICATION_LEASE_SECONDS)
    second = claim_one(later)
    assert record([(first, DeliveryOutcome(error="lost"))], now=later) == set()
    assert record([(second, DeliveryOutcome(provider_id="x"))], now=later) == {second.message_id}
    assert Notification.objects.get().status == "accepted"


def test_a_message_that_kills_its_worker_is_sent_once_more_and_then_given_up(
    organization, ana, policy, server, now, settings
):
    alert = page(organization, policy=policy, users=[ana], now=now)
    for attempt in range(2):
        assert claim_one(now + timedelta(hours=attempt)).attempts == attempt + 1
    deliver_due(now=now + timedelta(days=1))
    assert alert.notifications.get(kind="page").status == "failed"
    assert server.seen == []


def test_nothing_is_sent_for_an_alert_that_was_taken(organization, ana, policy, server, now):
    alert = page(organization, policy=policy, users=[ana], now=now)
    assign(alert, actor=ana, to=ana, now=now)
    assert deliver_due(now=now) == 0
    assert alert.notifications.get().status == "superseded"
    assert server.seen == []


def test_a_message_that_cannot_be_written_does_not_stop_the_others(
    organization, ana, person, policy, server, now, monkeypatch
):
    page(organization, policy=policy, users=[ana, person("bob")], now=now)
    write = deliver.claimed_message

    def broken_for_ana(claimed, **more):
        if claimed.notification.user_id == ana.pk:
            raise RuntimeError("a fault of ours")
        return write(claimed, **more)

    monkeypatch.setattr(deliver, "claimed_message", broken_for_ana)
    deliver_due(now=now)
    assert server.sent_to() == ["bob@example.com"]
    assert Notification.objects.get(user=ana).status == "failed"


def test_one_connection_serves_all_messages_and_is_opened_again_after_an_error(
    organization, person, policy, server, now
):
    people = [person(name) for name in ("ana", "bob", "cy", "dan")]
    page(organization, policy=policy, users=people, now=now)
    deliver_due(now=now)
    assert server.opened == 1
    alert = page(organization, policy=policy, users=people, now=now, name="other")
    alert.notifications.filter(user=people[1]).update(
        next_attempt_at=now - seconds(1)
    )  # goes first, so that others follow
    server.answer("bob@example.com", TimeoutError("timed out"))
    deliver_due(now=now)
    assert server.opened == 3


def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(organization, person, policy, server, now):
    page(organization, policy=policy, users=[person("ana"), person("bob")], now=now)
    server.answer("bob@example.com", smtplib.SMTPServerDisconnected("idle"), None)
    deliver_due(now=now)
    assert set(Notification.objects.values_list("status", "attempts")) == {("accepted", 1)}
    assert sorted(server.sent_to()) == ["ana@example.com", "bob@example.com", "bob@example.com"]


def test_who_is_deactivated_meanwhile_is_not_notified_and_the_next_step_comes_at_once(
    organization, ana, person, server, now
):
    team = factories.GroupFactory(organization=organization, name="Ops", primary=[ana], secondary=[person("sam")])
    page(organization, policy=factories.PolicyFactory(organization=organization), groups=[team], now=now)
    ana.is_active = False
    ana.save()
    deliver_due(now=now)
    advance_escalations(now=now)
    deliver_due(now=now)
    assert server.sent_to() == ["sam@example.com"]
    assert Notification.objects.get(user=ana).last_error == "This account is no longer active."


def test_a_page_goes_to_where_the_person_can_be_reached_now(organization, ana, policy, server, now):
    page(organization, policy=policy, users=[ana], now=now)
    # What Email-Official does where an e-mail address is changed: it stays verified.
    ana.contact_methods.update(address="ana@new.example.com")
    deliver_due(now=now)
    assert server.sent_to() == ["ana@new.example.com"]


@pytest.mark.parametrize("change", ["removed", "not verified any more"])
def test_a_contact_method_that_is_withdrawn_is_not_used_and_the_persons_next_one_is_at_once(
    organization, ana, policy, server, now, change
):
    home, late = (
        ana.contact_methods.create(
            label=f"Email-{number}", address=f"{number}@example.com", delay_minutes=number, verified_at=now
        )
        for number in (5, 10)
    )
    alert = page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    if change == "removed":
        home.delete()
    else:
        ana.contact_methods.filter(pk=home.pk).update(address="else@example.com", verified_at=None)
    deliver_due(now=now + timedelta(minutes=5))
    assert server.sent_to() == ["ana@example.com", late.address]
    assert alert.notifications.get(address="5@example.com").status == "failed"
    said = "E-mail to Ana (Email-5): failed: This contact method was removed or changed meanwhile."
    assert said in lines(alert, "notification_failed")


def test_back_off_differs_from_message_to_message():
    waits = {back_off("email", uuid4(), 1) for _ in range(50)}
    assert len(waits) > 10
    assert all(seconds(5) <= wait <= seconds(6) for wait in waits)


def test_an_unknown_channel_fails_and_leads_on(organization, ana, policy, server, now):
    ana.contact_methods.create(label="Email-Home", address="home@example.com", delay_minutes=10, verified_at=now)
    alert = page(organization, policy=policy, users=[ana], now=now)
    alert.notifications.filter(label="Email-Official").update(channel="telex")
    deliver_due(now=now)
    assert server.sent_to() == ["home@example.com"]
