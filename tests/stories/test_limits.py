"""A phone rings only so often.

What matters most goes first, what waits goes out together, and that it waits is said.
"""

import re
from datetime import timedelta

import pytest

from accounts.models.contact_methods import ContactMethod
from escalation.models.notifications import Notification
from escalation.models.sending import RateLimitState
from escalation.notifications.providers import phone
from escalation.notifications.providers.rate_limits import PER_PHONE, Limit, acquire
from tests.integration.escalation.channels.conftest import loopback_is_allowed, make_provider, twilio  # noqa: F401 - fixtures
from tests.providers.server import answer
from tests.world import World, minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]
TEN_MINUTES = timedelta(minutes=10)


def phone_of(world: World, who: str, number: int = 1, *, kind: str = "sms", after: float = 0) -> ContactMethod:
    """Give somebody a phone, which is what they are notified by: their e-mail comes the day after."""
    person = world.person(who)
    person.contact_methods.filter(label="Email-Official").update(delay_minutes=1440)
    return person.contact_methods.create(
        label=kind.title(), kind=kind, address=f"+4915112345{number:03}", delay_minutes=after, verified_at=world.now
    )


def texts(server, number: int = 1) -> list[str]:
    """Return the first words of the SMS to a phone, and forget them."""
    found = [request.form["Body"] for request in server.requests if request.form["To"] == f"+4915112345{number:03}"]
    server.requests.clear()
    return found


@pytest.fixture(autouse=True)
def no_phone_gets_anything_else(request):
    """End each story with phones that got nothing that it did not look at."""
    server = request.getfixturevalue("twilio") if "twilio" in request.fixturenames else None
    yield
    assert server is None or [request.form["To"] for request in server.requests] == []


def lines(world: World, job) -> list[tuple[str, str]]:
    found = world.alert(job).timeline.exclude(kind__in=["opened", "escalation_ended"])
    return list(found.values_list("kind", "text"))


@pytest.fixture
def two_in_ten_minutes(monkeypatch):
    """Let a phone ring twice at once, and again after five minutes."""
    monkeypatch.setattr("escalation.notifications.deliver.PER_PHONE", Limit(2, TEN_MINUTES))


def jobs(world: World, count: int, *, priority: str, name: str = "job", recipients=("ana",), at: float = 5):
    """Return heartbeats whose alerts open at this minute from now, and escalate no further."""
    policy = world.policy(priority=priority, steps=[{"role": "primary"}])
    return [
        world.heartbeat(f"{name} {number}", every=minutes(at), recipients=recipients, escalation_policy=policy)
        for number in range(count)
    ]


def test_a_critical_alert_waits_for_none_of_lower_priority(world: World, twilio):  # noqa: F811
    key = f"contact method {phone_of(world, 'ana').pk}"
    jobs(world, 10, priority="none")
    jobs(world, 1, priority="critical", name="the shop", at=5.2)
    for _ in range(20):
        assert acquire(key, PER_PHONE, now=world.now + minutes(5), pressing=False) is None
    world.advance(minutes(5))
    assert len(texts(twilio)) == 5  # the last five of thirty are kept free
    waiting = Notification.objects.filter(limited_since__isnull=False)
    assert waiting.filter(status="pending").count() == 5
    world.advance(seconds(12))
    (said,) = texts(twilio)
    assert "the shop 0" in said
    # That use has to be forgotten, too, before the others go out: together, and as one message.
    world.advance(seconds(28))
    (said,) = texts(twilio)
    assert "5 alerts" in said
    assert set(waiting.values_list("status", "attempts")) == {("accepted", 1)}
    world.expect_nothing_else()


def test_of_what_waits_together_the_most_important_is_named_first(world: World, twilio, two_in_ten_minutes):  # noqa: F811
    phone_of(world, "ana")
    jobs(world, 2, priority="medium", name="before", at=1)
    jobs(world, 1, priority="none", name="none", at=1.2)
    jobs(world, 1, priority="low", name="low", at=1.3)
    jobs(world, 1, priority="critical", name="critical", at=1.4)
    world.advance(minutes(2))
    assert len(texts(twilio)) == 2
    world.advance(minutes(4))
    for name in ("none", "low", "critical"):  # what is held for more than a minute comes over the next method, too
        world.expect_mail("ana", saying=f"{name} 0")
    (said,) = texts(twilio)
    assert re.search(r"^Critical: 3 alerts: #\d+ critical 0, #\d+ low 0, #\d+ none 0\.", said), said
    world.advance(minutes(30))
    assert texts(twilio) == []
    world.expect_nothing_else()


def test_that_it_waits_is_said_once_and_in_the_readers_zone(
    world: World,
    twilio,  # noqa: F811
    two_in_ten_minutes,
    client_for,
    client,
):
    world.person("ana", time_zone="Asia/Tokyo", roles=["Owner"])
    phone_of(world, "ana")
    *_, last = jobs(world, 3, priority="none")
    world.advance(minutes(5.5))
    held = ("notified", "SMS to Ana (Sms): held by the limit until about 21:10")
    assert lines(world, last) == [held]
    path = f"/api/v1/alerts/{world.alert(last).pk}/notifications/"
    found = client_for(world.person("ana")).get(path).json()["results"]
    (row,) = [row for row in found if row["channel"] == "sms"]
    assert (row["status"], row["accepted_at"]) == ("pending", None)
    assert row["held_until"] is not None
    client.force_login(world.person("ana"))
    assert "held by the limit until about 21:" in client.get(f"/alerts/{world.alert(last).pk}/").content.decode()
    world.advance(minutes(5))
    too_long = ("notification_failed", "SMS to Ana (Sms): held back for more than a minute")
    assert lines(world, last)[:2] == [held, too_long]
    assert lines(world, last).count(held) == lines(world, last).count(too_long) == 1
    assert ("notified", "SMS to Ana (Sms): sent") in lines(world, last)
    assert len(texts(twilio)) == 3
    world.expect_page("ana", about=last)
    (row,) = [row for row in client_for(world.person("ana")).get(path).json()["results"] if row["channel"] == "sms"]
    assert row["held_until"] is None


def test_what_was_held_and_then_failed_is_not_held_any_more(world: World, twilio, two_in_ten_minutes):  # noqa: F811
    phone_of(world, "ana")
    *_, last = jobs(world, 3, priority="none")
    world.advance(minutes(5))
    held = world.alert(last).notifications.get(channel="sms")
    assert held.held_until is not None
    twilio.answers(answer(503))
    world.advance(minutes(5) + seconds(2))
    failed = world.alert(last).notifications.get(channel="sms")
    assert (failed.status, failed.attempts, failed.held_until) == ("pending", 1, None)
    assert len(texts(twilio)) == 3
    world.expect_page("ana", about=last)


def test_after_a_minute_the_next_method_is_used_beside_it(world: World, twilio, two_in_ten_minutes):  # noqa: F811
    phone_of(world, "ana")
    phone_of(world, "ana", 2, kind="voice", after=20)
    sam = world.person("sam")
    policy = world.policy(steps=[{"role": "primary"}, {"role": "secondary", "wait_minutes": 4}], priority="critical")
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    for number in range(3):
        world.heartbeat(f"job {number}", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
    world.advance(minutes(5))
    assert len(twilio.requests) == 2
    world.advance(seconds(59))
    assert len(twilio.requests) == 2
    world.advance(seconds(1))
    calls = [request.path for request in twilio.requests[2:]]
    assert [path.rpartition("/")[2] for path in calls] == ["Calls.json"]
    world.expect_nothing_else()  # one method at a time: her mail keeps its time
    assert not Notification.objects.filter(user=sam).exists()  # the call reaches Ana in time
    world.advance(minutes(4))
    assert [request.path.rpartition("/")[2] for request in twilio.requests[3:]] == ["Messages.json"]
    twilio.requests.clear()
    for number in range(3):
        world.expect_mail("sam", saying=f"job {number}")
    world.expect_nothing_else()


def test_who_has_no_other_method_is_not_waited_for(world: World, twilio, two_in_ten_minutes):  # noqa: F811
    phone_of(world, "ana")
    steps = [{"role": "primary", "contact_labels": ["Sms"]}, {"role": "secondary", "wait_minutes": 30}]
    policy = world.policy(steps=steps, priority="critical", notify_using="centralized")
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    *_, last = [
        world.heartbeat(f"job {number}", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
        for number in range(3)
    ]
    world.advance(minutes(5))
    world.advance(seconds(58))
    world.expect_nothing_else()
    world.advance(seconds(3))
    world.expect_page("sam", about=last)
    world.expect_nothing_else()
    world.advance(minutes(5))
    assert len(texts(twilio)) == 3  # and still goes out
    world.expect_nothing_else()


def test_a_provider_takes_the_most_important_first_and_uses_up_nobodys_own_limit(
    world: World,
    twilio,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setattr(phone, "PER_PROVIDER", Limit(2, timedelta(minutes=1)))
    for number, who in enumerate(("ana", "ben", "cy", "dan"), start=1):
        phone_of(world, who, number)
    world.away.add("delivery")
    for who, priority in (("ana", "none"), ("ben", "low"), ("cy", "critical"), ("dan", "high")):
        jobs(world, 1, priority=priority, name=priority, recipients=[who])
    world.advance(minutes(5.2))
    world.away.clear()
    world.advance(seconds(1))
    assert _names(twilio) == ["critical 0", "high 0"]
    used = RateLimitState.objects.filter(key__startswith="contact method").order_by("used_until")
    assert [moment - world.now for moment in used.values_list("used_until", flat=True)][:2] == [timedelta(0)] * 2
    world.advance(seconds(30))
    assert _names(twilio) == ["low 0"]
    world.advance(seconds(30))
    assert _names(twilio) == ["none 0"]
    world.expect_nothing_else()


def _names(server) -> list[str]:
    """Return which of the jobs the SMS are about, and forget them."""
    bodies = [request.form["Body"] for request in server.requests]
    server.requests.clear()
    return [next(name for name in ("none 0", "low 0", "critical 0", "high 0") if name in body) for body in bodies]


# The two others send e-mails only, which nothing limits.
POLICIES = [
    "Escalate after 5 minutes, user preference",
    "Escalate after 30 minutes with 5 retries, centralized",
    "All hands, all contacts",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", [POLICIES[0], *(pytest.param(name, marks=pytest.mark.long) for name in POLICIES[1:])])
def test_the_shipped_policies_hold_nothing_for_more_than_a_minute(world: World, settings, monkeypatch, name):
    """Thirty alerts within three minutes, to people with a phone for SMS and calls, and their first retries."""
    sent = []

    def send(_kind, *, message, text):
        sent.append(text)
        return str(message.id)

    monkeypatch.setitem(phone.PROVIDERS, "twilio", phone.Provider("Twilio", send))
    settings.SMS_PROVIDERS = settings.VOICE_PROVIDERS = ["twilio"]
    world.bundle(seconds(5))
    world.away = {"leavers", "failing", "handoffs"}
    team = world.team("Database", primary=["ana"], managers=["mia"])
    for number, who in enumerate(("ana", "mia")):
        for kind in ("sms", "voice"):
            world.person(who).contact_methods.create(
                label=kind, kind=kind, address=f"+49151123{number}", verified_at=world.now
            )
    policy = world.organization.escalation_policies.get(name=name)
    for number in range(30):
        every = minutes(1 + number / 10)
        world.heartbeat(f"job {number}", every=every, recipient_groups=[team], escalation_policy=policy)
    world.advance(minutes(9.2), at_most_every=seconds(3))
    assert len(world.alerts()) == 30
    assert sent
    held = Notification.objects.filter(limited_since__isnull=False)
    for page in held:
        assert (page.accepted_at or world.now) - page.limited_since <= timedelta(minutes=1)
    # With retries, more than thirty come in ten minutes.
    assert held.exists() == ("5 retries" in name)
    assert not Notification.objects.filter(status="failed").exists()
    messages = Notification.objects.filter(accepted_at__isnull=False).values("message_id").distinct()
    assert len(sent) + len(world.unread()) == messages.count(), "and nothing else was sent"
