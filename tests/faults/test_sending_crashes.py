"""The delivery worker is killed at every statement boundary of sending, and as the provider takes the message.

E-mail, push, chat and webhooks may come again, under the same id; a phone is never called again once it may have been:
there the person's next contact method is used as soon as the lease has ended. Nothing stays in `sending`.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection

from accounts.contact_kinds import PHONES
from accounts.models.contact_methods import ContactMethod
from escalation.channels import push
from escalation.models.notifications import Notification
from tests import factories
from tests.faults.mortal import AFTER, BEFORE, Mortal, mortal
from tests.integration.escalation.posting import page
from tests.processes import PostOffice
from tests.providers.push import PushService
from tests.providers.server import Provider
from tests.providers.twilio import SID, TOKEN, Twilio

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
AGAIN = " again: the worker that sent it first was lost, and it may have come twice"
LOST = "failed: A worker was lost while it sent this; it may have arrived."
OFFICIAL = "ana@example.com"


class Deadly(Provider):
    """A provider that, once asked to, takes a message and kills the worker instead of answering."""

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

    async def handle_DATA(self, server, session, message_id):  # noqa: N802 - the name aiosmtpd looks for
        said = await super().handle_DATA(server, session, message_id)
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
class Route:
    """A route to be notified: where it leads, and by which ids its receiver knows the messages that came."""

    kind: str
    address: Callable[[Ground], str]
    came: Callable[[Ground], list[str]]
    taker: Callable[[Ground], object]
    settings: tuple = ()

    @property
    def calls(self) -> bool:
        return self.kind in PHONES


def requests(name: str, read: Callable) -> Callable[[Ground], list[str]]:
    return lambda ground: [read(request) for request in getattr(ground, name).requests]


def header(name: str) -> Callable:
    return lambda request: request.headers[name]


def number(_: Ground) -> str:
    return "+4915112345678"


ROUTES = {
    "email": Route(
        "email",
        lambda _: "home@example.com",
        lambda ground: [mail.partition("@")[0].strip("<") for mail in ground.mails("home@example.com")],
        lambda ground: ground.post,
    ),
    "push": Route(
        "push",
        lambda ground: ground.pushing.subscription,
        requests("pushing", header("topic")),
        lambda ground: ground.pushing,
    ),
    "chat": Route(
        "chat",
        lambda ground: f"{ground.plain.url}/services/T/B/x",
        requests("plain", header("idempotency-key")),
        lambda ground: ground.plain,
    ),
    "webhook": Route(
        "webhook",
        lambda ground: f"{ground.plain.url}/hook",
        requests("plain", header("webhook-id")),
        lambda ground: ground.plain,
    ),
    "sms": Route(
        "sms",
        number,
        requests("twilio", lambda request: request.form["Body"]),
        lambda ground: ground.twilio,
        (("SMS_PROVIDERS", ["twilio", "gateway"]),),
    ),
    "voice": Route(
        "voice",
        number,
        requests("twilio", lambda request: request.form["Twiml"]),
        lambda ground: ground.twilio,
        (("VOICE_PROVIDERS", ["twilio"]),),
    ),
    "gateway": Route(
        "sms",
        number,
        requests("plain", header("idempotency-key")),
        lambda ground: ground.plain,
        (("SMS_PROVIDERS", ["gateway"]),),
    ),
}


class Scene:
    """One page to Ana over one route, with her official e-mail ten minutes later, an hour after the scene before."""

    def __init__(self, ground: Ground, route: Route, *, now) -> None:
        self.ground, self.route = ground, route
        self.ana = factories.UserFactory(name="Ana", email=OFFICIAL)
        self.policy = factories.PolicyFactory(organization=self.ana.organization, steps=[{"role": "primary"}])
        self.ana.contact_methods.update(delay_minutes=10, position=1)
        ContactMethod.objects.create(
            user=self.ana, kind=route.kind, label="Mine", address=route.address(ground), verified_at=now
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
        return self.ground.worker.work(now=now, **where, **dict(self.route.settings))

    @property
    def message(self) -> Notification:
        return self.alert.notifications.get(label="Mine")

    def lines(self) -> set[str]:
        """Return what the timeline says about who was notified, where each line must stand once."""
        found = list(
            self.alert.timeline.filter(kind__in=["notified", "notification_failed"]).values_list("text", flat=True)
        )
        assert len(set(found)) == len(found)
        return set(found)

    def is_over(self, *, at: str) -> str:
        """Let another worker come as soon as it may, expect what was promised, and return how the first had left it."""
        left = self.message
        taken = len(self.route.came(self.ground))
        later = left.next_attempt_at if left.status == "sending" else self.now + timedelta(minutes=1)
        assert later <= self.now + timedelta(minutes=2), at
        assert not self.work(now=later).killed
        assert not Notification.objects.filter(status="sending").exists(), at

        came, message = self.route.came(self.ground), self.message
        mails, lines = self.ground.mails(OFFICIAL), self.lines()
        name = ContactMethod.Kind(self.route.kind).label
        if self.route.calls and left.status == "sending":
            assert len(came) == taken <= 1, at
            assert len(mails) == 1, at
            assert message.status == "failed", at
            assert lines == {"E-mail to Ana (Email-Official): sent", f"{name} to Ana (Mine): {LOST}"}, at
        else:
            assert message.status == "accepted", at
            # Nobody knows whether the first arrived: it is sent once more, and the next method is used beside it.
            lost = left.status == "sending"
            assert len(mails) == (1 if lost else 0), at
            again = f"{name} to Ana (Mine): sent{AGAIN if lost else ''}"
            assert lines == ({again, "E-mail to Ana (Email-Official): sent"} if lost else {again}), at
            if self.route.calls:
                assert len(came) == 1, at
            else:
                assert {key.replace("-", "") for key in came} == {message.message_id.hex}, at
                assert len(came) == (1 if left.status == "accepted" else taken + 1), at
        return f"{left.status}, {taken} taken"


# Of those that answer alike, one is enough each time. SMS is read with more care below.
ALIKE = {"chat", "webhook", "gateway", "push", "voice"}


@pytest.mark.parametrize(
    "route", [pytest.param(route, marks=[pytest.mark.long] if route in ALIKE else []) for route in ROUTES]
)
def test_a_worker_killed_at_any_statement_notifies_each_person_once_and_rings_no_phone_twice(ground, route, now):
    scene = Scene(ground, ROUTES[route], now=now)
    seen: Counter[str] = Counter()
    for place, side in ((place, side) for place in range(1, 100) for side in (BEFORE, AFTER)):
        scene.begin()
        end = scene.work(now=scene.now, place=place, side=side)
        seen[scene.is_over(at=end.at)] += 1
        if not end.killed:
            break
    assert set(seen) == {"pending, 0 taken", "sending, 0 taken", "sending, 1 taken", "accepted, 1 taken"}, seen
    assert place > 6


@pytest.mark.parametrize("route", ROUTES)
def test_a_worker_killed_as_the_provider_takes_the_message(ground, route, now):
    scene = Scene(ground, ROUTES[route], now=now)
    scene.begin()
    ROUTES[route].taker(ground).kill = ground.worker.kill
    assert scene.work(now=scene.now).killed
    assert scene.is_over(at="as the message was taken") == "sending, 1 taken"


@pytest.mark.long
def test_a_worker_killed_as_it_writes_down_that_another_was_lost_rings_nobody_and_uses_the_next_method(ground, now):
    """The same for whoever comes after the first: at every statement, until it gets through."""
    scene = Scene(ground, ROUTES["sms"], now=now)
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
        said = {line.removesuffix(AGAIN) for line in scene.lines()}
        assert said == {"E-mail to Ana (Email-Official): sent", f"SMS to Ana (Mine): {LOST}"}, end.at
        if not end.killed:
            break
    assert set(left) == {"sending", "failed"}
