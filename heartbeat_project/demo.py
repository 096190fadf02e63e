"""Demo data for `bootstrap --demo`: people, groups, integrations and a little history."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from accounts.models.contact_methods import Priority
from accounts.models.groups import Group, GroupRole
from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.services.groups import Member, create_group
from accounts.services.users import create_user
from alerting.models.alerts import Alert
from alerting.services import alerts as alerting
from alerting.services.bridges import create_bridge
from alerting.via import CONSOLE
from escalation.policies.plays import TierRule, create_play
from heartbeat_project.kernel.ids import new_token
from integrations.heartbeats.edits import create_heartbeat
from integrations.heartbeats.wording import silence
from integrations.inbound.edits import create_event_integration
from integrations.maintenance.windows import create_window
from integrations.models.integrations import InboundIntegration
from integrations.models.periods import StatePeriod
from integrations.ping_lane.batch import Arrival, record_pings

DAY = timedelta(days=1)
MAX_PINGS = 200  # for one heartbeat
LATE = timedelta(minutes=9)  # delay of the run that caused each past silence

# The domain `.example` belongs to nobody (RFC 2606), so that a demo never writes to strangers.
PEOPLE = (
    ("Ana Castro", "ana@demo.example", "Integrations Admin", "Europe/Lisbon"),
    ("Ben Okafor", "ben@demo.example", "Basic", "Europe/London"),
    ("Chiara Neri", "chiara@demo.example", "Basic", "Europe/Rome"),
    ("Deniz Kaya", "deniz@demo.example", "App Admin", "Europe/Istanbul"),
    ("Emil Larsen", "emil@demo.example", "System Viewer", "Europe/Copenhagen"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A heartbeat of the demo: its interval, the age of its last ping in minutes (None: never), which run was late.

    `late_run` counts back from the last run. `more` holds further arguments of `create_heartbeat`.
    """

    name: str
    every_minutes: str
    last_minutes: float | None
    group: str = "Operations"
    play: bool = False
    late_run: int | None = None
    more: tuple[tuple[str, Any], ...] = ()


JOBS = (
    Job(name="Nightly database backup", every_minutes="1440", last_minutes=430, group="Databases", late_run=5),
    Job(name="Invoice export to accounting", every_minutes="1440", last_minutes=95),
    Job(name="Warehouse ETL, hourly load", every_minutes="60", last_minutes=12, group="Databases"),
    Job(name="Replication lag check", every_minutes="5", last_minutes=1, group="Databases"),
    Job(name="Certificate renewal", every_minutes="10080", last_minutes=2900),
    Job(name="Mail queue flush", every_minutes="15", last_minutes=3, late_run=150),
    Job(name="Price feed import", every_minutes="30", last_minutes=8, play=True),
    Job(name="Log shipping to the archive", every_minutes="120", last_minutes=70, more=(("grace_minutes", 15),)),
    Job(name="Off-site copy of the backups", every_minutes="720", last_minutes=745, group="Databases"),
    Job(name="Badge reader sync", every_minutes="30", last_minutes=51, play=True),
    Job(
        name="Year-end closing batch",
        every_minutes="1440",
        last_minutes=None,
        more=(("start_timer", "first_ping"), ("allow_get", True)),
    ),
    Job(name="Old file server snapshot", every_minutes="1440", last_minutes=9000, more=(("enabled", False),)),
    Job(name="Shop search index", every_minutes="60", last_minutes=20),
)
IN_MAINTENANCE = "Shop search index"


def fill_demo(owner: User, *, now: datetime) -> list[str]:
    """Fill the Owner's organization unless it has integrations already; return lines to print."""
    organization = owner.organization
    with transaction.atomic():
        # One transaction, so that an engine that is running sees each heartbeat only together with its pings.
        if InboundIntegration.objects.filter(organization=organization).exists():
            return ["Nothing was added for the demo: the organization already has integrations."]
        if User.objects.filter(email=PEOPLE[0][1]).exists():
            return ["Nothing was added for the demo: its users already exist."]
        people = _people(organization, now=now - 30 * DAY)
        groups = _groups(owner, people, now=now - 30 * DAY)
        integrations = _heartbeats(owner, people, groups, now=now)
        _history(owner, people, groups, integrations, now=now)
        create_event_integration(
            organization,
            type=InboundIntegration.Type.API,
            now=now - DAY,
            name="Grafana",
            escalation_policy=organization.escalation_policies.order_by("pk")[0],
            recipient_groups=[groups["Operations"]],
        )
    added = f"{len(people)} people, {len(groups)} groups, {len(integrations)} heartbeats and an API integration"
    return [
        f"The demo added {added}.",
        "Two of the heartbeats are already silent; their alerts open as soon as the engine runs.",
    ]


def _people(organization: Organization, *, now: datetime) -> dict[str, User]:
    roles = {role.name: role for role in organization.roles.all()}
    return {
        name.split()[0]: create_user(
            organization,
            email=email,
            name=name,
            now=now,
            time_zone=time_zone,
            roles=[roles[role]],
        )
        for name, email, role, time_zone in PEOPLE
    }


def _groups(owner: User, people: dict[str, User], *, now: datetime) -> dict[str, Group]:
    def group(name: str, description: str, *members: tuple[User, GroupRole]) -> Group:
        return create_group(
            owner.organization,
            actor=None,
            now=now,
            name=name,
            description=description,
            members=[Member(user=user.pk, role=role) for user, role in members],
        )

    return {
        "Operations": group(
            "Operations",
            "Servers, mail and everything that has no other home.",
            (owner, GroupRole.PRIMARY),
            (people["Ben"], GroupRole.SECONDARY),
            (people["Deniz"], GroupRole.MANAGER),
        ),
        "Databases": group(
            "Databases",
            "Backups, replication and the warehouse.",
            (people["Chiara"], GroupRole.PRIMARY),
            (owner, GroupRole.SECONDARY),
            (people["Ana"], GroupRole.SECONDARY),
            (people["Deniz"], GroupRole.MANAGER),
        ),
    }


def _heartbeats(
    owner: User,
    people: dict[str, User],
    groups: dict[str, Group],
    *,
    now: datetime,
) -> dict[str, InboundIntegration]:
    organization = owner.organization
    policy = organization.escalation_policies.order_by("pk")[0]
    bridge = create_bridge(
        organization,
        name="Operations bridge",
        phone_number="+44 20 7946 0000",
        access_code="4711#",
        meeting_url="https://meet.demo.example/operations",
    )
    play = create_play(
        organization,
        name="Shop is affected",
        description="First the people who run the shop, then Operations, then the manager.",
        priority=Priority.CRITICAL,
        tiers=[
            TierRule(Decimal(0), users=[owner, people["Ana"]]),
            TierRule(Decimal(5), groups=[groups["Operations"]]),
            TierRule(Decimal(10), users=[people["Deniz"]]),
        ],
    )
    heartbeats = {}
    for job in JOBS:
        escalation = {"response_play": play} if job.play else {"escalation_policy": policy}
        options = dict(job.more)
        heartbeats[job.name] = create_heartbeat(
            organization,
            actor=owner,
            # Created before its oldest ping; the one that never pinged has been waiting since yesterday.
            now=now - (DAY if job.last_minutes is None else 14 * DAY),
            name=job.name,
            interval_minutes=Decimal(job.every_minutes),
            recipient_groups=() if job.play else [groups[job.group]],
            bridge=bridge,
            tags=["env:prod", "db" if job.group == "Databases" else "shop" if job.play else "office"],
            **escalation,
            **options,
        )
        record_pings(list(_arrivals(job, heartbeats[job.name].token, now=now)))
        if job.last_minutes is not None:
            # Only its newest pings are stored.
            waited = StatePeriod.objects.filter(integration=heartbeats[job.name], kind=StatePeriod.Kind.WAITING)
            waited.update(ended_at=F("started_at") + DAY)
    create_window(
        organization,
        name="Search servers move",
        starts_at=now - timedelta(minutes=10),
        ends_at=now + timedelta(hours=3),
        integrations=[heartbeats[IN_MAINTENANCE]],
        now=now,
    )
    return heartbeats


def _arrivals(job: Job, token: str, *, now: datetime) -> Iterable[Arrival]:
    """Yield the pings of the last thirteen days, oldest first, at most MAX_PINGS."""
    if job.last_minutes is None:
        return
    last = now - timedelta(minutes=job.last_minutes)
    every = timedelta(minutes=float(job.every_minutes))
    count = min(MAX_PINGS, int((last - (now - 13 * DAY)) / every) + 1)
    for index in reversed(range(count)):
        late = LATE if index == job.late_run else timedelta()
        yield Arrival(token=token, received_at=last - index * every + late, source_ip="192.0.2.17")


def _history(
    owner: User,
    people: dict[str, User],
    groups: dict[str, Group],
    integrations: dict[str, InboundIntegration],
    *,
    now: datetime,
) -> None:
    """Create closed alerts for past silences, and two alerts in progress that people opened by hand."""
    for job in JOBS:
        if job.late_run is not None and job.last_minutes is not None:
            ago = timedelta(minutes=job.last_minutes + job.late_run * float(job.every_minutes))
            _past_silence(integrations[job.name], groups[job.group], people["Chiara"], at=now - ago)
    assigned = _open_by_hand(
        owner,
        groups["Operations"],
        "Mail to one customer bounces",
        "Their server answers 550 since this morning. Ask them for a new address.",
        now=now - timedelta(hours=3),
    )
    alerting.acknowledge(assigned, actor=people["Ben"], via=CONSOLE, now=now - timedelta(minutes=175))
    alerting.assign(assigned, actor=people["Deniz"], to=people["Ben"], via=CONSOLE, now=now - timedelta(minutes=160))
    alerting.reply(
        assigned,
        actor=people["Ben"],
        via=CONSOLE,
        now=now - timedelta(minutes=40),
        text="The customer's provider is on it.",
    )
    held = _open_by_hand(
        owner,
        groups["Databases"],
        "Disk of the warehouse is 85 % full",
        "New disks are ordered; until they come there is room for two weeks.",
        now=now - 2 * DAY,
    )
    alerting.hold(held, actor=people["Chiara"], via=CONSOLE, now=now - timedelta(hours=40))


def _past_silence(integration: InboundIntegration, group: Group, user: User, *, at: datetime) -> None:
    heartbeat = integration.heartbeat
    silence_text = silence(
        name=integration.name,
        interval_minutes=heartbeat.interval_minutes,
        grace_minutes=heartbeat.grace_minutes,
        last_ping_at=(at - timedelta(minutes=float(heartbeat.interval_minutes))).isoformat(),
        deadline_at=at.isoformat(),
        overdue=timedelta(),
        link=f"{settings.BASE_URL}/heartbeats/{integration.pk}/",
    )
    draft = alerting.AlertDraft(
        organization_id=integration.organization_id,
        subject=silence_text.subject,
        short_text=silence_text.short_text,
        long_text=silence_text.long_text,
        facts=silence_text.facts,
        source="Heartbeat",
        integration_type="heartbeat",
        source_name=integration.name,
        source_id=str(integration.pk),
        priority=Priority.HIGH,
        integration_id=integration.pk,
        expected_at=at.isoformat(),
        group_ids=[group.pk],
    )
    [alert_id] = alerting.open_alerts([draft], now=at)
    alert = Alert.objects.get(pk=alert_id)
    alerting.acknowledge(alert, actor=user, via=CONSOLE, now=at + timedelta(minutes=4))
    alerting.close_alerts([alert.pk], reason="closed by heartbeat", now=at + LATE)
    StatePeriod.objects.create(integration=integration, kind=StatePeriod.Kind.MISSED, started_at=at, ended_at=at + LATE)


def _open_by_hand(owner: User, group: Group, subject: str, text: str, *, now: datetime) -> Alert:
    draft = alerting.AlertDraft(
        organization_id=owner.organization_id,
        subject=subject,
        short_text=subject,
        long_text=text,
        facts=[],
        source="Manual",
        source_name=owner.name,
        source_id=new_token(),
        priority=Priority.MEDIUM,
        group_ids=[group.pk],
    )
    [alert_id] = alerting.open_alerts([draft], now=now)
    return Alert.objects.get(pk=alert_id)
