"""Create and change heartbeat integrations."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict, Unpack

from django.db import transaction

from accounts.models.groups import Group
from accounts.models.organizations import Organization
from accounts.models.users import User
from alerting.models.bridges import Bridge
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError
from integrations.availability.periods import begin_period, record_maintenance
from integrations.configuration.edits import (
    COMMON,
    MAX_MINUTES,
    check_common,
    close_live,
    follow_route,
    lock,
    new_recipients,
    read_recipients,
    save_named,
    save_recipients,
)
from integrations.heartbeats import timing
from integrations.maintenance.windows import follow_tags, suspended_until
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from integrations.models.integrations import InboundIntegration

_WAITING = Heartbeat.State.WAITING
# The fields that heartbeats alone have.
_ON_HEARTBEAT = ("interval_minutes", "grace_minutes", "start_timer", "allow_get")
# How the log names fields; "enabled" has entries of its own.
_LABELS = {
    "name": "name",
    "escalation_policy": "escalation policy",
    "response_play": "response play",
    "bridge": "bridge",
    "tags": "tags",
    "description": "description",
    "priority": "priority",
    "interval_minutes": "interval (minutes)",
    "grace_minutes": "grace (minutes)",
    "start_timer": "start of the timer",
    "allow_get": "GET pings",
}
MIN_INTERVAL = Decimal("0.1")  # minutes: six seconds
MAX_INTERVAL = MAX_MINUTES


class HeartbeatChanges(TypedDict, total=False):
    """The fields that `update_heartbeat` changes; those that are left out stay as they are."""

    name: str
    interval_minutes: Decimal | float
    grace_minutes: Decimal | float
    start_timer: str
    allow_get: bool
    escalation_policy: EscalationPolicy | None
    response_play: ResponsePlay | None
    recipient_groups: Iterable[Group]
    recipient_users: Iterable[User]
    bridge: Bridge | None
    enabled: bool
    tags: Iterable[str]
    description: str
    priority: str | None


def create_heartbeat(
    organization: Organization,
    *,
    actor: User | None,
    now: datetime,
    name: str,
    interval_minutes: Decimal | float,
    escalation_policy: EscalationPolicy | None = None,
    response_play: ResponsePlay | None = None,
    recipient_groups: Iterable[Group] = (),
    recipient_users: Iterable[User] = (),
    bridge: Bridge | None = None,
    enabled: bool = True,
    tags: Iterable[str] = (),
    description: str = "",
    priority: str | None = None,
    grace_minutes: Decimal | float = 0,
    start_timer: str = Heartbeat.StartTimer.WHEN_ENABLED,
    allow_get: bool = False,
) -> InboundIntegration:
    """Create a heartbeat integration; if it is enabled, its timer starts now (docs/domain.md, timing 1).

    Raises FieldError with the field that is wrong; then nothing is saved.
    """
    integration = InboundIntegration(
        organization=organization,
        type=InboundIntegration.Type.HEARTBEAT,
        name=name,
        escalation_policy=escalation_policy,
        response_play=response_play,
        bridge=bridge,
        enabled=enabled,
        tags=list(tags),
        description=description,
        priority=priority,
        created_at=now,
    )
    heartbeat = Heartbeat(
        integration=integration,
        interval_minutes=Decimal(str(interval_minutes)),
        grace_minutes=Decimal(str(grace_minutes)),
        start_timer=start_timer,
        allow_get=allow_get,
        state=Heartbeat.State.DISABLED,
    )
    recipients = read_recipients({"recipient_groups": recipient_groups, "recipient_users": recipient_users})
    check_common(integration, recipients)
    _check(heartbeat)
    with transaction.atomic():
        save_named(integration)
        heartbeat.integration = integration
        if enabled:
            _start(integration, heartbeat, now=now)
        heartbeat.save(force_insert=True)
        _follow_state(heartbeat, now=now)
        save_recipients(integration, recipients)
        _log(integration, HeartbeatEvent.Kind.CREATED, "Created.", actor=actor, now=now)
    return integration


def update_heartbeat(
    integration: InboundIntegration,
    *,
    actor: User | None,
    now: datetime,
    **changes: Unpack[HeartbeatChanges],
) -> InboundIntegration:
    """Change the fields that are passed; a new interval recomputes the deadline at once.

    Raises FieldError with the field that is wrong, IntegrationGone after a deletion; then nothing is saved.
    """
    with transaction.atomic():
        # The row's lock holds off pings and the detector while state and deadline are computed from the row.
        integration = lock(integration)
        heartbeat = Heartbeat.objects.get(pk=integration.pk)
        before = _values(integration, heartbeat)
        values: dict[str, Any] = dict(changes)
        recipients = read_recipients(values)
        changed_recipients = new_recipients(integration, recipients)
        for field in values.keys() & {*COMMON}:
            setattr(integration, field, values[field])
        for field in values.keys() & {*_ON_HEARTBEAT}:
            value = values[field]
            if field.endswith("_minutes"):
                value = Decimal(str(value))
            setattr(heartbeat, field, value)
        check_common(integration, recipients)
        _check(heartbeat)
        after = _values(integration, heartbeat)
        save_named(integration)
        save_recipients(integration, recipients)
        if before["enabled"] != integration.enabled:
            _switch(integration, heartbeat, actor=actor, now=now)
        elif (
            before["start_timer"] != heartbeat.start_timer and not heartbeat.ping_count and heartbeat.state == _WAITING
        ):
            _start(integration, heartbeat, now=now)
        elif heartbeat.armed_at is not None:
            heartbeat.deadline_at = _deadline(heartbeat)
        timer = ("state", "armed_at", "deadline_at", "suspended_until", "set_back")
        heartbeat.save(update_fields=[*_ON_HEARTBEAT, *timer])
        if before["enabled"] != integration.enabled:
            _follow_state(heartbeat, now=now)
        elif before["tags"] != integration.tags:
            follow_tags(integration, now=now)
            heartbeat = Heartbeat.objects.get(pk=integration.pk)
        differences = [
            _difference(label, before[field], after[field])
            for field, label in _LABELS.items()
            if before[field] != after[field]
        ]
        differences += [field.replace("_", " ") for field in changed_recipients]
        follow_route(integration, before, changed_recipients, actor=actor, now=now)
        if differences:
            text = f"Changed: {'; '.join(differences)}."
            _log(integration, HeartbeatEvent.Kind.CHANGED, text, actor=actor, now=now)
    integration.heartbeat = heartbeat
    return integration


def _switch(integration: InboundIntegration, heartbeat: Heartbeat, *, actor: User | None, now: datetime) -> None:
    if integration.enabled:
        _start(integration, heartbeat, now=now)
        starts = "a fresh interval starts" if heartbeat.armed_at else "the timer starts with the first ping"
        _log(integration, HeartbeatEvent.Kind.ENABLED, f"Enabled; {starts}.", actor=actor, now=now)
        return
    heartbeat.state = Heartbeat.State.DISABLED
    heartbeat.armed_at = heartbeat.deadline_at = None
    # Its pings no longer close the alert, and nobody should be paged for a heartbeat that was switched off.
    close_live(integration, "disabled", actor=actor, now=now)
    _log(integration, HeartbeatEvent.Kind.DISABLED, "Disabled.", actor=actor, now=now)


def _start(integration: InboundIntegration, heartbeat: Heartbeat, *, now: datetime) -> None:
    """Start a fresh interval now, or at the end of the maintenance that is on; or wait for the first ping.

    A heartbeat that was pinged before, even while it was disabled, does not wait for a first ping.
    """
    heartbeat.state = _WAITING
    heartbeat.suspended_until = suspended_until(integration, now=now)
    heartbeat.armed_at = heartbeat.deadline_at = None
    if setting := clock.setting():
        heartbeat.set_back = setting.set_back
    if heartbeat.start_timer == Heartbeat.StartTimer.WHEN_ENABLED or heartbeat.ping_count:
        heartbeat.armed_at = max(now, heartbeat.suspended_until or now)
        heartbeat.deadline_at = _deadline(heartbeat)


def _follow_state(heartbeat: Heartbeat, *, now: datetime) -> None:
    """Write into the history that the heartbeat waits or is disabled from now on, and the maintenance that is on."""
    begin_period(heartbeat.pk, heartbeat.state, now=now)
    if heartbeat.state == _WAITING and heartbeat.suspended_until is not None:
        record_maintenance([heartbeat.pk], starts_at=now, ends_at=heartbeat.suspended_until)


def _deadline(heartbeat: Heartbeat) -> datetime:
    assert heartbeat.armed_at is not None  # noqa: S101 - the callers asked
    return timing.deadline(
        heartbeat.armed_at,
        interval_minutes=heartbeat.interval_minutes,
        grace_minutes=heartbeat.grace_minutes,
    )


def _check(heartbeat: Heartbeat) -> None:
    if not MIN_INTERVAL <= heartbeat.interval_minutes <= MAX_INTERVAL:
        raise FieldError("interval_minutes", "The interval is from 0.1 to 44,640 minutes (31 days).")
    if not 0 <= heartbeat.grace_minutes <= MAX_INTERVAL:
        raise FieldError("grace_minutes", "The grace is from 0 to 44,640 minutes (31 days).")
    if heartbeat.start_timer not in Heartbeat.StartTimer.values:
        raise FieldError("start_timer", "The timer starts when_enabled or at the first_ping.")


def _difference(label: str, old: Any, new: Any) -> str:
    """Return what changed; a description only by its name, since it may be long."""
    if label == "description":
        return label
    if label == "priority":
        old, new = (priority or "that of the policy" for priority in (old, new))
    if isinstance(old, list):
        old, new = (", ".join(tags) or "none" for tags in (old, new))
    return f"{label} from {old} to {new}"


def _values(integration: InboundIntegration, heartbeat: Heartbeat) -> dict[str, Any]:
    """Return the fields other than recipients, by name."""
    return {field: getattr(integration, field) for field in COMMON} | {
        field: getattr(heartbeat, field) for field in _ON_HEARTBEAT
    }


def _log(integration: InboundIntegration, kind: str, text: str, *, actor: User | None, now: datetime) -> None:
    HeartbeatEvent.objects.create(integration=integration, at=now, kind=kind, actor=actor, text=text)
