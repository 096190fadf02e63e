"""A generated night: 200 alerts for four people with five contact methods each, and what every phone did.

The seed fixes all of it, so that the same night can be lived through before and after a change.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Final, cast

from django.utils.crypto import get_random_string

from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.services import alerts as alerting
from escalation.channels.base import Message
from escalation.models.notifications import Notification
from escalation.notifications.providers import channel_pool
from integrations.models.integrations import InboundIntegration
from tests.world import World, minutes, seconds

SEED: Final = 11
ALERTS: Final = 200
RECOVERIES: Final = 10
TAKEN: Final = 60
ACKNOWLEDGED: Final = 30
# Each burst is something that breaks and takes many heartbeats with it within a minute.
BURSTS: Final = 6
LASTS: Final = minutes(360)
# Coarse, so that the night takes seconds: what is due within a minute is done at its end.
TICK: Final = minutes(1)
PEOPLE: Final = ("ana", "ben", "cem", "dora")
ROLES: Final = {"primary": ("ana", "ben"), "secondary": ("cem",), "manager": ("dora",)}
# (kind, address, minutes after a step reaches the person, how many times more)
METHODS: Final = (
    ("push", '{"endpoint": "https://push.example.com/%s"}', 0, 0),
    ("sms", "+49151%s", 1, 0),
    ("voice", "+49151%s", 2, 1),
    ("chat", "https://chat.example.com/%s", 0, 0),
)
KINDS: Final = ("voice", "sms", "email", "push", "chat")
# How many alerts of the night have each of the shipped policies, in their order.
POLICIES: Final = (110, 10, 10, 40, 30)
# When each of them comes to which role while nobody takes the alert: minutes after it opened.
COMES_TO: Final = (
    {"primary": 0, "secondary": 5, "manager": 10},
    {"primary": 0, "secondary": 30, "manager": 60},
    {"primary": 0, "secondary": 0, "manager": 0},
    {"primary": 0, "secondary": 0, "manager": 0},
    {"manager": 0},
)


@dataclass(frozen=True)
class Incident:
    """One heartbeat that goes silent: when, under which policy, and what comes of it how much later (minutes)."""

    name: str
    silent_at: float
    policy: int
    then: str
    after: float

    @property
    def people(self) -> list[str]:
        """Return who is notified: everybody whom a step comes to before somebody takes it or its signal is back.

        Whoever acknowledges an alert has it go on to the others.
        """
        goes_on = self.then in {"left", "acknowledged"}
        steps = COMES_TO[self.policy].items()
        return [person for role, at in steps if goes_on or at < self.after for person in ROLES[role]]


@dataclass(frozen=True)
class Sent:
    """One message that a channel took: to whom, why, and about which alerts."""

    at: datetime
    kind: str
    person: str
    why: str
    alerts: tuple[int, ...]


@dataclass
class Night:
    """What was sent, and what it was about."""

    sent: list[Sent] = field(default_factory=list)
    incidents: Sequence[Incident] = ()
    alerts: dict[str, int] = field(default_factory=dict)

    def count(self, person: str, kind: str, *, why: Iterable[str] = ()) -> int:
        """Return how many messages came to a person over one kind of contact method."""
        return sum((sent.person, sent.kind) == (person, kind) and (not why or sent.why in why) for sent in self.sent)

    def counts(self) -> dict[str, list[int]]:
        """Return the numbers of each person's row of the table."""
        rows = {}
        for person in PEOPLE:
            numbers = [self.count(person, kind) for kind in KINDS]
            said = [self.count(person, kind, why=["recovery"]) for kind in KINDS]
            rows[person] = [*numbers, sum(numbers), said[0], sum(said)]
        return rows

    def table(self) -> str:
        """Return, in Markdown, calls and messages of each person, and how many of them said that all is well."""
        heads = ("who", "calls", "SMS", "e-mails", "push", "chat", "in all", "calls to say that all is well")
        lines = [f"| {' | '.join(heads)} | messages to say so |", f"| --- {'| ---: ' * len(heads)}|"]
        roles = {person: role.title() for role, people in ROLES.items() for person in people}
        for person, numbers in self.counts().items():
            lines.append(f"| {person.title()}, {roles[person]} | {' | '.join(map(str, numbers))} |")
        return "\n".join(lines)

    def unmentioned(self) -> list[tuple[str, str]]:
        """Return (alert, person) where somebody who was to be notified got no message about the alert."""
        notified = self._mentioned(recoveries=False)
        return [
            (incident.name, person)
            for incident in self.incidents
            for person in incident.people
            if (self.alerts[incident.name], person) not in notified
        ]

    def wrong_recoveries(self) -> list[tuple[str, str, int]]:
        """Return (alert, person, how many) where a person did not learn just once that what woke them is over."""
        notified, back = self._mentioned(recoveries=False), self._mentioned(recoveries=True)
        found = []
        for incident in self.incidents:
            alert = self.alerts[incident.name]
            for person in PEOPLE:
                expected = int(incident.then == "recovers" and (alert, person) in notified)
                if back[(alert, person)] != expected:
                    found.append((incident.name, person, back[(alert, person)]))
        return found

    def _mentioned(self, *, recoveries: bool) -> Counter[tuple[int, str]]:
        """Return how often each alert was mentioned to each person."""
        return Counter(
            (alert, sent.person)
            for sent in self.sent
            if (sent.why == "recovery") == recoveries
            for alert in sent.alerts
        )


@dataclass
class _Channel:
    """Takes everything, over one kind of contact method."""

    world: World
    night: Night
    kind: str

    def send(self, message: Message) -> str:
        rows = list(Notification.objects.filter(message_id=message.id, status="sending").select_related("user"))
        about = {row.alert_id for row in rows if row.alert_id}
        person = rows[0].user.name.lower() if rows and rows[0].user else ""
        self.night.sent.append(Sent(self.world.now, self.kind, person, message.kind, tuple(sorted(about))))
        return f"taken {get_random_string(8)}"

    def close(self) -> None:
        """Have nothing to let go of."""


def plan_the_night(seed: int = SEED) -> list[Incident]:
    """Return what breaks in a night; what recovers breaks late, so that it does not break again."""
    dice = random.Random(seed)
    starts = [*sorted(dice.uniform(20, 200) for _ in range(BURSTS - 1)), 210.0]
    times = sorted(round(dice.choice(starts) + dice.uniform(0, 1), 1) for _ in range(ALERTS - RECOVERIES))
    times += sorted(round(starts[-1] + dice.uniform(0, 1), 1) for _ in range(RECOVERIES))
    policies = [policy for policy, number in enumerate(POLICIES) for _ in range(number)]
    dice.shuffle(policies)
    early = ["taken"] * TAKEN + ["acknowledged"] * ACKNOWLEDGED
    early += ["left"] * (ALERTS - RECOVERIES - len(early))
    dice.shuffle(early)
    return [
        # People act when they have read a message: some at four minutes, some after nine.
        Incident(f"job {number:03}", at, policy, then, dice.choice([4, 9]))
        for number, (at, policy, then) in enumerate(
            zip(times, policies, [*early, *["recovers"] * RECOVERIES], strict=True)
        )
    ]


def live_through(world: World, monkeypatch, *, seed: int = SEED, every: int = 1) -> Night:
    """Live through the night and return what was sent; `world` is as yet empty, and it is evening there.

    With `every` five only each fifth of the night's alerts comes.
    """
    night = Night(incidents=plan_the_night(seed)[::every])
    for kind in KINDS:
        monkeypatch.setitem(channel_pool.CHANNELS, kind, partial(_Channel, world, night, kind))
    # A slow machine would write what it sends in a later second.
    monkeypatch.setattr("escalation.notifications.deliver.time", SimpleNamespace(monotonic=lambda: 0.0))
    world.bundle(seconds(5))
    world.away |= {"leavers", "handoffs", "failing"}  # nobody comes or goes, and every address works
    _people(world)
    jobs = _jobs(world, night.incidents)
    begun = world.now
    deeds = sorted(
        (begun + minutes(math.ceil(incident.silent_at + incident.after)), incident.name, incident.then)
        for incident in night.incidents
        if incident.then != "left"
    )
    for at, name, then in deeds:
        world.advance(max(at - world.now, seconds(0)), at_most_every=TICK)
        _do(world, jobs[name], then)
    world.advance(begun + LASTS - world.now, at_most_every=TICK)
    by_integration = dict(Alert.objects.values_list("integration_id", "id"))
    night.alerts = {name: by_integration[job.pk] for name, job in jobs.items()}
    return night


def _people(world: World) -> None:
    for number, name in enumerate(PEOPLE):
        person = world.person(name, roles=["Owner"] if name == "dora" else ["Basic"])
        for place, (kind, address, delay, repeats) in enumerate(METHODS, start=1):
            person.contact_methods.create(
                kind=kind,
                label=f"{kind.title()}-Official",
                address=address % f"{number:08}",
                position=place,
                delay_minutes=delay,
                repeat_count=repeats,
                repeat_gap_minutes=2,
                verified_at=world.now,
            )


def _jobs(world: World, incidents: Sequence[Incident]) -> dict[str, InboundIntegration]:
    team = world.team("Ops", primary=ROLES["primary"], secondary=ROLES["secondary"], managers=ROLES["manager"])
    policies = list(world.organization.escalation_policies.order_by("id"))
    return {
        incident.name: world.heartbeat(
            incident.name,
            every=minutes(incident.silent_at),
            recipient_groups=[team],
            escalation_policy=policies[incident.policy],
        )
        for incident in incidents
    }


def _do(world: World, job: InboundIntegration, then: str) -> None:
    alert = Alert.objects.get(integration_id=job.pk)
    first = alert.notifications.filter(kind="page", user__isnull=False).order_by("created_at", "user").first()
    if then == "recovers":
        world.ping(job)
        world.beat()
    elif first is not None and alert.status == "open":
        who = cast("User", first.user)
        if then == "taken":
            alerting.assign(alert, actor=who, to=who, now=world.now)
        else:
            alerting.acknowledge(alert, actor=who, now=world.now)
