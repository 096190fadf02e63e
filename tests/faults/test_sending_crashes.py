"""The delivery worker is killed at every statement boundary of sending, and as the provider takes the message.

E-mail, push, chat and webhooks may come again, under the same id; a phone is never rung again once it may have been:
there the person's next contact method is used as soon as the lease has ended. Nothing stays in `sending`.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection

from accounts.models import ContactMethod
from escalation.channels import NEVER_AGAIN, push
from escalation.models import Notification
from tests import factories
from tests.faults.mortal import AFTER, BEFORE, Mortal, mortal
from tests.integration.escalation.posting import page
from tests.processes import PostOffice
from tests.providers.push import PushService
from tests.providers.server import Provider
from tests.providers.twilio import SID, TOKEN, Twilio

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
LOST = "failed: A worker was lost while it sent this; it may have arrived."
OFFICIAL = "ana@example.com"


class Deadly(Provider):
    """A provider that, once told to, takes a message and kills the worker instead of answering."""

    kill: Callable[[], None] | None = None

    def _usually(self, request):
        said = super()._usually(request)
        kill, self.kill = self.kill, None
        if kill:
            kill()
        return said


class DeadlyTwilio(Deadly, Twilio):
    pass


class DeadlyPush(Deadly, PushService):
    pass


class DeadlyPost(PostOffice):
    kill: Callable[[], None] | None = None

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the name aiosmtpd looks for
        said = await super().handle_DATA(server, session, envelope)
        kill, self.kill = self.kill, None
        if kill:
            kill()
        return said


@dataclass
class Ground:
    """The providers, and the worker that sends to them."""

    post: DeadlyPost
    plain: Deadly
    twilio: DeadlyTwilio
    pushing: DeadlyPush
    worker: Mortal

    def mails(self, address: str) -> list[str]:
        return [str(mail["Message-ID"]) for mail in self.post.to(address)]

    def clear(self) -> None:
        self.post.messages.clear()
        for provider in (self.plain, self.twilio, self.pushing):
            provider.requests.clear()


@pytest.fixture(scope="module")
def ground(django_db_setup):
    plain, twilio, pushing = Deadly(), DeadlyTwilio(), DeadlyPush()
    pushing.key = push.public_key()
    environment = {
        "HEARTBEAT_BASE_URL": "https://heartbeat.example.org",
        "HEARTBEAT_OUTGOING_ALLOW": "127.0.0.1/32",
        "HEARTBEAT_NOTIFICATION_LEASE_SECONDS": "60",
        "HEARTBEAT_TWILIO_URL": twilio.url,
        "HEARTBEAT_TWILIO_ACCOUNT_SID": SID,
        "HEARTBEAT_TWILIO_AUTH_TOKEN": TOKEN,
        "HEARTBEAT_TWILIO_FROM": "+15550001111",
        "HEARTBEAT_GATEWAY_URL": f"{plain.url}/send",
    }
    database = connection.settings_dict["NAME"]
    with DeadlyPost() as post, mortal(database=database, EMAIL_URL=post.url, **environment) as worker:
        yield Ground(post, plain, twilio, pushing, worker)
    for provider in (plain, twilio, pushing):
        provider.close()


@dataclass(frozen=True)
class Way:
    """A way to be told: where it leads, and by which ids its receiver knows the messages that came."""

    kind: str
    address: Callable[[Ground], str]
    came: Callable[[Ground], list[str]]
    taker: Callable[[Ground], object]
    settings: tuple = ()

    @property
    def rings(self) -> bool:
        return self.kind in NEVER_AGAIN


def requests(name: str, read: Callable) -> Callable[[Ground], list[str]]:
    return lambda ground: [read(request) for request in getattr(ground, name).requests]


def header(name: str) -> Callable:
    return lambda request: request.headers[name]


def number(_: Ground) -> str:
    return "+4915112345678"


WAYS = {
    "email": Way(
        "email",
        lambda _: "home@example.com",
        lambda ground: [mail.partition("@")[0].strip("<") for mail in ground.mails("home@example.com")],
        lambda ground: ground.post,
    ),
    "push": Way(
        "push",
        lambda ground: ground.pushing.subscription,
        requests("pushing", header("topic")),
        lambda ground: ground.pushing,
    ),
    "chat": Way(
        "chat",
        lambda ground: f"{ground.plain.url}/services/T/B/x",
        requests("plain", header("idempotency-key")),
        lambda ground: ground.plain,
    ),
    "webhook": Way(
        "webhook",
        lambda ground: f"{ground.plain.url}/hook",
        requests("plain", header("webhook-id")),
        lambda ground: ground.plain,
    ),
    "sms": Way(
        "sms",
        number,
        requests("twilio", lambda request: request.form["Body"]),
        lambda ground: ground.twilio,
        (("SMS_PROVIDERS", ["twilio", "gateway"]),),
    ),
    "voice": Way(
        "voice",
        number,
        requests("twilio", lambda request: request.form["Twiml"]),
        lambda ground: ground.twilio,
        (("VOICE_PROVIDERS", ["twilio"]),),
    ),
    "gateway": Way(
        "sms",
        number,
        requests("plain", header("idempotency-key")),
        lambda ground: ground.plain,
        (("SMS_PROVIDERS", ["gateway"]),),
    ),
}


class Scene:
    """One page to Ana over one way, with her official e-mail ten minutes later, an hour after the scene before."""

    def __init__(self, ground: Ground, way: Way, *, now) -> None:
        self.ground, self.way = ground, way
        self.ana = factories.UserFactory(name="Ana", email=OFFICIAL)
        self.policy = factories.PolicyFactory(organization=self.ana.organization, steps=[{"role": "primary"}])
        self.ana.contact_methods.update(delay_minutes=10, position=1)
        ContactMethod.objects.create(
            user=self.ana, kind=way.kind, label="Mine", address=way.address(ground), verified_at=now
        )
        self.hours = itertools.count()
        self.first = now

    def begin(self) -> None:
        """Put away what was left, and page Ana."""
        Notification.objects.filter(status="pending").update(status="superseded", next_attempt_at=None)
        self.ground.clear()
        self.now = self.first + next(self.hours) * HOUR
        self.alert = page(self.ana.organization, policy=self.policy, users=[self.ana], now=self.now)

    def work(self, *, now, **where):
        return self.ground.worker.work(now=now, **where, **dict(self.way.settings))

    @property
    def message(self) -> Notification:
        return self.alert.notifications.get(label="Mine")

    def lines(self) -> set[str]:
        """Return what the timeline says about who was told, where each line must stand once."""
        found = list(self.alert.timeline.filter(kind__in=["told", "told_failed"]).values_list("text", flat=True))
        assert len(set(found)) == len(found)
        return set(found)

    def is_over(self, *, at: str) -> str:
        """Let another worker come as soon as it may, expect what was promised, and return how the first had left it."""
        left = self.message
        taken = len(self.way.came(self.ground))
        later = left.next_attempt_at if left.status == "sending" else self.now + timedelta(minutes=1)
        assert later <= self.now + timedelta(minutes=2), at
        assert not self.work(now=later).killed
        assert not Notification.objects.filter(status="sending").exists(), at

        came, message = self.way.came(self.ground), self.message
        mails, lines = self.ground.mails(OFFICIAL), self.lines()
        name = ContactMethod.Kind(self.way.kind).label
        if self.way.rings and left.status == "sending":
            assert len(came) == taken <= 1, at
            assert len(mails) == 1, at
            assert message.status == "failed", at
            assert lines == {"E-mail to Ana (Email-Official): accepted", f"{name} to Ana (Mine): {LOST}"}, at
        else:
            assert message.status == "accepted", at
            assert mails == [], at
            assert lines == {f"{name} to Ana (Mine): accepted"}, at
            if self.way.rings:
                assert len(came) == 1, at
            else:
                assert {key.replace("-", "") for key in came} == {message.envelope.hex}, at
                assert len(came) == (1 if left.status == "accepted" else taken + 1), at
        return f"{left.status}, {taken} taken"


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_killed_at_any_statement_tells_each_person_once_and_rings_no_phone_twice(ground, way, now):
    scene = Scene(ground, WAYS[way], now=now)
    seen: Counter[str] = Counter()
    for place, side in ((place, side) for place in range(1, 100) for side in (BEFORE, AFTER)):
        scene.begin()
        end = scene.work(now=scene.now, place=place, side=side)
        seen[scene.is_over(at=end.at)] += 1
        if not end.killed:
            break
    assert set(seen) == {"pending, 0 taken", "sending, 0 taken", "sending, 1 taken", "accepted, 1 taken"}, seen
    assert place > 6


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_killed_as_the_provider_takes_the_message(ground, way, now):
    scene = Scene(ground, WAYS[way], now=now)
    scene.begin()
    WAYS[way].taker(ground).kill = ground.worker.kill
    assert scene.work(now=scene.now).killed
    assert scene.is_over(at="as the message was taken") == "sending, 1 taken"


def test_a_worker_killed_as_it_writes_down_that_another_was_lost_rings_nobody_and_uses_the_next_method(ground, now):
    """The same for whoever comes after the first: at every statement, until it gets through."""
    scene = Scene(ground, WAYS["sms"], now=now)
    left: Counter[str] = Counter()
    for place, side in ((place, side) for place in range(1, 100) for side in (BEFORE, AFTER)):
        scene.begin()
        ground.twilio.kill = ground.worker.kill
        assert scene.work(now=scene.now).killed
        second = scene.message.next_attempt_at
        end = scene.work(now=second, place=place, side=side)
        left[scene.message.status] += 1

        leases = Notification.objects.filter(status="sending").values_list("next_attempt_at", flat=True)
        third = max(filter(None, [second, *leases]))
        assert third <= second + timedelta(minutes=2), end.at
        assert not scene.work(now=third).killed
        assert not Notification.objects.filter(status="sending").exists(), end.at
        assert len(ground.twilio.requests) == 1, end.at
        assert len(set(ground.mails(OFFICIAL))) == 1, end.at
        assert scene.lines() == {"E-mail to Ana (Email-Official): accepted", f"SMS to Ana (Mine): {LOST}"}, end.at
        if not end.killed:
            break
    assert set(left) == {"sending", "failed"}
