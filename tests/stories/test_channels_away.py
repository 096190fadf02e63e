"""Channels that are away for a while: nothing is given up, others take its place, and no flood follows (domain: 7)."""

import smtplib
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend

from alerting.models.alerts import TimelineEntry
from alerting.services.alerts import acknowledge, assign, close_alerts, hold
from escalation.channels import smtp
from escalation.channels.base import DeliveryError
from escalation.engine.notices import write_owner_notice
from escalation.models.notifications import Notification
from escalation.notifications.providers import channel_pool, phone
from escalation.notifications.providers.circuit_breakers import PAUSE
from escalation.notifications.receipts import record_undelivered
from escalation.notifications.unsent import messages_given_up, oldest_unsent_message, what_is_unsent
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db
# Within this all that waits goes out once its channel is back: a probe after the pause, and then all others.
SOON_AFTER = PAUSE + seconds(2)


class PostOffice(EmailBackend):
    """A mail server that answers as it is notified, or takes what it gets."""

    says: Exception | None = None
    stage = smtp.RCPT
    tries = 0

    def send_messages(self, messages):
        type(self).tries += 1
        if self.says is not None:
            raise self.says
        return super().send_messages(messages)


@pytest.fixture
def post(settings):
    settings.EMAIL_BACKEND = "tests.stories.test_channels_away.PostOffice"
    PostOffice.says, PostOffice.tries = ConnectionRefusedError("Connection refused"), 0
    yield PostOffice
    PostOffice.says, PostOffice.stage = None, smtp.RCPT


@pytest.fixture
def owner(world):
    return world.person("olga", roles=["Owner"])


def add_webhook(world: World, who: str, *, after: float, monkeypatch, answers=None) -> list:
    """Give somebody a webhook that is used so many minutes after their mail; return what it gets."""
    taken = []

    def send(message):
        if answers:
            raise answers[0]
        taken.append(message)
        return "taken"

    monkeypatch.setitem(channel_pool.CHANNELS, "webhook", lambda: SimpleNamespace(send=send, close=lambda: None))
    world.person(who).contact_methods.create(
        kind="webhook", label="Webhook", address=f"https://{who}.example.com", position=5, delay_minutes=after,
        verified_at=world.now,
    )  # fmt: skip
    return taken


def failures(alert) -> list[str]:
    return list(alert.timeline.filter(kind=TimelineEntry.Kind.NOTIFICATION_FAILED).values_list("text", flat=True))


def unsent(**fields):
    return Notification.objects.filter(next_attempt_at__isnull=False, **fields)


@pytest.mark.slow
def test_a_mail_server_that_refuses_for_28_minutes_gives_nothing_up(world: World, post, owner):
    post.stage = smtp.CONNECT
    team = world.team("Ops", primary=["ana"], secondary=["sam"])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.advance(minutes(5))
    alert = world.alert(job)
    began = {"Ana": seconds(0), "Sam": minutes(1), "Olga": minutes(2)}
    for _ in range(27):
        world.advance(seconds(5))
    for row in alert.notifications.select_related("user"):
        late = row.created_at - alert.opened_at - began.pop(row.user.name)
        assert late <= seconds(10), "each step whose messages fail for a minute goes on, up to the last resort"
    assert not began
    for _ in range(26):
        world.advance(minutes(1), at_most_every=seconds(20))
        assert unsent(alert=alert).count() == 3
        assert not alert.notifications.filter(status="failed").exists()
    assert len(failures(alert)) == 3, "one line for each message, however often it is tried"
    assert not mail.outbox
    assert post.tries < 70, "about one each half minute, for all together"
    assert oldest_unsent_message(now=world.now) >= minutes(28)
    assert "28 min" in what_is_unsent(now=world.now)
    post.says = None
    world.advance(SOON_AFTER)
    assert Counter(message.to[0] for message in mail.outbox) == {
        "ana@example.com": 1,
        "sam@example.com": 1,
        "olga@example.com": 1,
    }
    sent = [entry.text for entry in alert.timeline.filter(kind="notified") if "after it had failed for" in entry.text]
    assert len(sent) == 3
    assert (messages_given_up(now=world.now), what_is_unsent(now=world.now)) == (0, "")


def test_a_server_that_asks_to_come_back_in_a_moment_does_not_have_the_next_step_notified(world: World, post, owner):
    post.says = smtplib.SMTPDataError(451, b"4.7.1 greylisted, try again later")
    team = world.team("Ops", primary=["ana"], secondary=["sam"])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.advance(minutes(5))
    world.advance(seconds(30))
    assert len(failures(world.alert(job))) == 1
    post.says = None
    world.advance(minutes(2))
    assert Counter(message.to[0] for message in mail.outbox) == {"ana@example.com": 1}
    world.advance(minutes(3))
    assert Counter(message.to[0] for message in mail.outbox) == {"ana@example.com": 1, "sam@example.com": 1}


def test_what_fails_for_good_after_a_moment_has_the_next_step_notified_at_once(world: World, post, owner):
    post.says = smtplib.SMTPDataError(451, b"4.7.1 greylisted, try again later")
    team = world.team("Ops", primary=["ana"], secondary=["sam"])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.advance(minutes(5))
    world.advance(seconds(1))
    post.says = smtplib.SMTPDataError(554, b"5.7.1 not wanted")
    for _ in range(8):
        world.advance(seconds(1))
    found = dict(world.alert(job).notifications.values_list("user__name", "status"))
    assert found == {"Ana": "failed", "Sam": "failed", "Olga": "failed"}


def test_when_the_server_is_back_all_goes_at_once_in_one_bundle_of_what_is_still_open(world: World, post, owner):
    world.bundle(seconds(5))
    jobs = [world.heartbeat(f"job {n}", every=minutes(5 + n / 2), recipients=("ana",)) for n in range(5)]
    other = world.heartbeat("nightly", every=minutes(5), recipients=("ben",))
    world.advance(minutes(13), at_most_every=seconds(5))
    close_alerts([world.alert(jobs[0]).pk], reason="done", now=world.now)
    acknowledged, taken = world.alert(jobs[1]), world.alert(jobs[2])
    acknowledge(acknowledged, actor=world.person("ana"), now=world.now)
    assign(taken, actor=world.person("ana"), to=world.person("ana"), now=world.now)
    post.says = None
    back_at = world.now
    while unsent(kind="page").exists():
        world.advance(seconds(1))
    assert world.now - back_at <= SOON_AFTER
    world.advance(minutes(3))
    pages = [message for message in mail.outbox if message.to != ["olga@example.com"]]
    assert Counter(message.to[0] for message in pages) == {"ana@example.com": 1, "ben@example.com": 1}
    bundle = next(message for message in pages if message.to == ["ana@example.com"])
    for job in jobs[3:]:
        assert job.name in bundle.body
    for job in (*jobs[:3], other):
        assert job.name not in bundle.body
    resorts = [message for message in mail.outbox if message.to == ["olga@example.com"]]
    assert len(resorts) == 1


def test_without_bundles_half_an_hour_of_retries_comes_as_one_message_too(world: World, post):
    jobs = [world.heartbeat(f"job {n}", every=minutes(5 + n / 10), recipients=("ana",)) for n in range(4)]
    world.advance(minutes(12))
    post.says = None
    world.advance(SOON_AFTER)
    (message,) = mail.outbox
    assert all(job.name in message.body for job in jobs)


@pytest.mark.parametrize("away", [60, 100, 140])
def test_few_failures_or_many_what_waits_goes_out_a_pause_after_the_server_is_back(
    world: World, post, monkeypatch, away
):
    """After a minute the pauses of one message are longer than that of its provider, and no circuit breaker is open."""
    answers = [DeliveryError("503 Service Unavailable")]
    taken = add_webhook(world, "ana", after=0, monkeypatch=monkeypatch, answers=answers)
    job = world.heartbeat("backup", every=minutes(5), recipients=("ana",))
    world.advance(minutes(5))
    world.advance(seconds(away))
    post.says = None
    answers.clear()
    world.advance(SOON_AFTER)
    assert (len(taken), len(mail.outbox)) == (1, 1)
    assert not unsent(alert=world.alert(job)).exists()


def test_a_probe_goes_first_and_the_others_wait_for_it(world: World, post):
    post.stage = smtp.CONNECT
    for number in range(12):
        world.heartbeat(f"job {number}", every=minutes(5), recipients=(f"p{number}",))
    world.advance(minutes(10), at_most_every=seconds(5))
    post.tries = 0
    world.advance(PAUSE * 2)
    assert post.tries == 2, "one for each pause, and none from those that wait"
    post.says = None
    world.advance(SOON_AFTER)
    assert len(mail.outbox) == 12


def test_what_waits_for_a_hold_is_no_probe(world: World, post):
    post.stage = smtp.CONNECT
    jobs = [world.heartbeat(f"job {name}", every=minutes(5), recipients=(name,)) for name in ("ana", "ben")]
    world.advance(minutes(7))
    hold(world.alert(jobs[0]), actor=world.person("ana"), now=world.now)
    world.advance(minutes(3))
    post.says = None
    world.advance(SOON_AFTER)
    assert [message.to for message in mail.outbox] == [["ben@example.com"]]


class Phones:
    """A provider of SMS that cannot be reached, answers 503, or takes what it gets."""

    def __init__(self, world: World, monkeypatch, settings, *, names):
        self.fails: DeliveryError | None = None
        self.asked: list = []  # when somebody was asked and answered, by message
        self.taken: list = []
        self.world = world
        settings.SMS_PROVIDERS = ["gateway"]
        monkeypatch.setitem(phone.PROVIDERS, "gateway", phone.Provider("The gateway", self.send))
        for name in names:
            world.person(name).contact_methods.create(
                kind="sms", label="SMS", address=f"+49301234{len(self.world.people):03}", verified_at=world.now
            )

    def send(self, kind, *, message, text):
        if self.fails is None or not self.fails.unreached:
            self.asked.append((message.id, self.world.now))
        if self.fails is not None:
            raise self.fails
        self.taken.append(message.address)
        return str(message.id)


@pytest.mark.parametrize("away", [100, 2_000])
def test_what_never_reached_a_provider_of_sms_goes_out_a_pause_after_it_is_back(
    world: World, monkeypatch, settings, away
):
    phones = Phones(world, monkeypatch, settings, names=("ana", "ben"))
    phones.fails = DeliveryError("Connection refused", unreached=True)
    for name in ("ana", "ben"):
        world.heartbeat(f"job {name}", every=minutes(5), recipients=(name,))
    world.advance(minutes(5))
    world.advance(seconds(away), at_most_every=seconds(10))
    assert set(unsent(channel="sms").values_list("attempts", flat=True)) == {0}
    phones.fails = None
    world.advance(SOON_AFTER)
    assert len(phones.taken) == 2


def test_a_provider_of_sms_that_refuses_is_tried_three_times_an_hour_and_at_least_each_half_hour(
    world: World, monkeypatch, settings
):
    phones = Phones(world, monkeypatch, settings, names=("ana",))
    phones.fails = DeliveryError("503 Service Unavailable")
    world.heartbeat("backup", every=minutes(5), recipients=("ana",))
    world.advance(minutes(5))
    world.advance(minutes(300), at_most_every=seconds(20))
    tried = [at for _, at in phones.asked]
    for at in tried:
        assert sum(at <= other < at + minutes(60) for other in tried) <= 3
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert max(gaps) <= minutes(36.5), "thirty minutes, and up to a fifth more"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("Connection refused"),
        TimeoutError("timed out"),
        smtplib.SMTPServerDisconnected("Connection unexpectedly closed"),
        smtplib.SMTPConnectError(421, b"busy"),
        smtplib.SMTPDataError(451, b"try later"),
        DeliveryError("no answer to the message", uncertain=True),
    ],
    ids=["refused", "hung", "dropped", "banner", "4xx", "unknown"],
)
def test_the_next_method_is_used_at_once_and_the_line_says_so(world: World, post, monkeypatch, error):
    taken = add_webhook(world, "ana", after=30, monkeypatch=monkeypatch)
    job = world.heartbeat("backup", every=minutes(5), recipients=("ana",))
    post.says = error
    world.advance(minutes(5))
    world.advance(seconds(1))
    alert = world.alert(job)
    assert len(taken) == 1
    assert len(failures(alert)) == 1
    assert unsent(alert=alert, channel="email").count() == 1, "it is tried on beside the webhook"
    assert not Notification.objects.filter(kind="last_resort").exists()


def test_one_next_method_at_a_time_and_the_next_of_the_next_where_that_fails_too(world: World, post, monkeypatch):
    answers = [DeliveryError("503 Service Unavailable")]
    add_webhook(world, "ana", after=30, monkeypatch=monkeypatch, answers=answers)
    ana = world.person("ana")
    got = []

    def send(message):
        got.append(message)
        return "taken"

    chat = SimpleNamespace(send=send, close=lambda: None)
    monkeypatch.setitem(channel_pool.CHANNELS, "chat", lambda: chat)
    for place in (6, 7):
        ana.contact_methods.create(
            kind="chat", label=f"Chat {place}", address=f"https://chat{place}.example.com", position=place,
            delay_minutes=place * 10, verified_at=world.now,
        )  # fmt: skip
    world.heartbeat("backup", every=minutes(5), recipients=("ana",))
    world.advance(minutes(5))
    world.advance(seconds(2))
    assert [message.address for message in got] == ["https://chat6.example.com"], "not the one after it"
    world.advance(minutes(20))
    assert len(got) == 1, "further failures of the same messages use nothing more"


def test_what_may_have_been_taken_is_sent_once_more_and_no_more(world: World, post, owner):
    ids = []

    def keep(self, messages):
        ids.extend(message.extra_headers["Message-ID"] for message in messages if message.to == ["ana@example.com"])
        raise DeliveryError("no answer to the message", uncertain=True)

    post.send_messages, usual = keep, post.send_messages
    try:
        job = world.heartbeat("backup", every=minutes(5), recipients=("ana",))
        world.advance(minutes(40))
    finally:
        post.send_messages = usual
    page = world.alert(job).notifications.get(kind="page", user__name="Ana", retry=0)
    assert (page.status, page.unknown_outcomes) == ("failed", 2)
    assert Counter(ids)[f"<{page.pk}@127.0.0.1>"] == 2
    assert "It may have arrived, and is not sent again." in failures(world.alert(job))[-1]
    assert messages_given_up(now=world.now) > 0


def test_a_low_alert_at_night_rings_nobody_because_a_mail_failed(world: World, post, monkeypatch):
    """At 21:58 the page fails, its retries fail in the night: the person's later methods keep their time."""
    taken = add_webhook(world, "ana", after=8 * 60, monkeypatch=monkeypatch)
    world.person("ana").time_zone = "UTC"
    policy = world.policy(priority="low", steps=[{"role": "primary"}], low_waits_until="07:00")
    job = world.heartbeat("report", every=minutes((21 - 12) * 60 + 58), recipients=("ana",), escalation_policy=policy)
    post.says = None
    world.advance(minutes((21 - 12) * 60 + 59), at_most_every=minutes(1))
    page = world.alert(job).notifications.get(channel="email")
    assert page.status == "accepted"
    world.advance(minutes(5), at_most_every=minutes(1))
    # What was taken bounces in the night.
    record_undelivered(page.message_id, provider_id=page.provider_id, error="undelivered", now=world.now)
    world.advance(minutes(60), at_most_every=minutes(1))
    assert not taken
    world.advance(minutes(9 * 60), at_most_every=minutes(5))
    assert len(taken) == 1


def test_what_fails_without_an_open_alert_is_given_up_after_a_day(world: World, post, owner):
    write_owner_notice(world.organization.pk, subject="Look", text="Look.", now=world.now)
    world.advance(minutes(23 * 60), at_most_every=minutes(2))
    assert unsent().count() == 1
    world.advance(minutes(70), at_most_every=minutes(2))
    assert Notification.objects.get().status == "failed"


def test_a_message_that_was_tried_for_months_is_tried_on(world: World, post):
    world.heartbeat("backup", every=minutes(5), recipients=("ana",))
    world.advance(minutes(5))
    world.advance(seconds(1))
    Notification.objects.filter(kind="page").update(attempts=32_767)
    world.advance(minutes(6))
    assert Notification.objects.get(kind="page").attempts == 32_767
    post.says = None
    world.advance(SOON_AFTER)
    assert len(mail.outbox) == 1


def test_while_retries_of_an_unreached_step_are_left_nothing_is_said_again_and_again(world: World, post, owner):
    policy = world.policy(steps=[{"role": "primary", "retries": 4, "retry_interval_minutes": 5}])
    job = world.heartbeat("backup", every=minutes(5), recipients=("ana",), escalation_policy=policy)
    world.advance(minutes(17), at_most_every=seconds(20))
    alert = world.alert(job)
    kinds = Counter(alert.timeline.values_list("kind", flat=True))
    assert kinds["last_resort"] == 1
    assert kinds["skipped"] <= 1, list(alert.timeline.values_list("text", flat=True))
    post.says = None
    world.advance(SOON_AFTER)
    mails = Counter(message.to[0] for message in mail.outbox)
    assert mails["ana@example.com"] <= 2, "the retries that failed come as one, then the one that is due"
    assert mails["olga@example.com"] == 1


def test_the_page_and_the_api_say_when_it_is_tried_again(world: World, post, owner, client):
    job = world.heartbeat("backup", every=minutes(5), recipients=("olga",))
    world.advance(minutes(5))
    alert = world.alert(job)
    client.force_login(owner)
    row = client.get(f"/api/v1/alerts/{alert.pk}/notifications/").json()["results"][0]
    assert (row["status"], row["failing_since"] is None) == ("pending", False)
    assert row["next_attempt_at"] > row["failing_since"]
    shown = client.get(f"/alerts/{alert.pk}/").content.decode()
    assert "Failed, tried again" in shown
    assert "next try about" in shown
