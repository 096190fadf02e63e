"""Channels that fail at random, in every way: no alert is forgotten, nobody gets a message three times (domain: 7)."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest

from alerting.models.alerts import Alert
from escalation.channels.base import DeliveryError
from escalation.models.notifications import Notification
from escalation.notifications.providers import channel_pool
from escalation.notifications.providers.circuit_breakers import PAUSE
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db
TEMPORARY, UNKNOWN, LATE = "temporary", "unknown", "taken, no answer"
ARRIVED = ("accepted", "delivered")


class Post:
    """Every channel at once; each works, or fails in one way."""

    def __init__(self, monkeypatch):
        self.fails: dict[str, str | None] = {}
        self.given: Counter = Counter()  # what was handed over, by message and address
        self.taken: list = []
        for name in ("email", "webhook", "sms"):
            # Each send looks itself up by its channel's name.
            monkeypatch.setitem(channel_pool.CHANNELS, name, lambda name=name: self.channel(name))

    def channel(self, name):
        return SimpleNamespace(send=lambda message: self.send(name, message), close=lambda: None)

    def send(self, name, message):
        trouble = self.fails.get(name)
        if trouble == TEMPORARY:
            raise DeliveryError("503 Service Unavailable")
        self.given[message.id, message.address] += 1
        if trouble == UNKNOWN:
            raise DeliveryError("no answer", uncertain=True, permanent=name == "sms")
        self.taken.append((name, message.address, message.kind))
        return str(message.id)


@pytest.mark.parametrize("seed", range(2))
def test_random_outages_forget_nothing_and_flood_nobody(world: World, monkeypatch, seed):
    chance = random.Random(seed)
    post = Post(monkeypatch)
    world.bundle(seconds(chance.choice([0, 5])))
    world.person("olga", roles=["Owner"])
    for place, (kind, who) in enumerate([("webhook", "ana"), ("sms", "ana"), ("webhook", "sam")]):
        world.person(who).contact_methods.create(
            kind=kind, label=f"{kind} {place}", address=f"https://{who}.example.com/{kind}", position=place,
            delay_minutes=chance.choice([0, 3]), verified_at=world.now,
        )  # fmt: skip
    team = world.team("Ops", primary=["ana"], secondary=["sam"])
    for number in range(3):
        world.heartbeat(f"job {number}", every=minutes(chance.uniform(1, 8)), recipient_groups=[team])
    for _ in range(7):
        for name in ("email", "webhook", "sms"):
            trouble = chance.choice([TEMPORARY, TEMPORARY, UNKNOWN, None])
            post.fails = {**post.fails, name: trouble}
        world.advance(minutes(2), at_most_every=seconds(20))
        nothing_is_forgotten(world)
    post.fails = {}
    world.advance(PAUSE + seconds(20), at_most_every=seconds(5))
    failing = Notification.objects.filter(status="pending", failing_since__isnull=False)
    failing = failing.exclude(channel="sms", attempts__gt=0)
    assert not failing, "all that failed goes out after one pause"
    world.advance(seconds(10), at_most_every=seconds(5))
    post.taken.clear()
    world.advance(minutes(6.2), at_most_every=seconds(20))
    nothing_is_forgotten(world)
    assert not failing.all()
    assert max(post.given.values()) <= 2
    assert max(Counter(post.taken).values(), default=0) <= 4, post.taken


def nothing_is_forgotten(world):
    """Each open alert of some age reached somebody, is being tried on, or may have arrived wherever it was sent."""
    for alert in Alert.objects.filter(status="open"):
        messages = alert.notifications.filter(kind__in=["page", "last_resort"])
        reached = messages.filter(status__in=ARRIVED).exists()
        tried_on = messages.filter(status__in=["pending", "sending"]).exists()
        # A channel that takes and is silent may have brought it; then it went everywhere it could go.
        silent = not messages.filter(status="failed", unknown_outcomes=0).exclude(channel="sms").exists()
        assert reached or tried_on or silent, list(messages.values("status", "channel", "last_error"))
