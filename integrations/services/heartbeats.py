"""Create, change, rotate and delete heartbeat integrations."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import Group, Organization, User
from accounts.services.saving import clean_name
from alerting.models import Alert, Bridge
from alerting.services import close_alerts
from alerting.states import LIVE
from escalation.models import EscalationPolicy, ResponsePlay
from escalation.services.running import follow_integration
from heartbeat_project.kernel.errors import DomainError, FieldError
from heartbeat_project.kernel.ids import new_token
from integrations import timing
from integrations.models import Heartbeat, HeartbeatEvent, InboundIntegration
from integrations.services.windows import suspended_until

_ON_INTEGRATION = ("name", "escalation_policy", "response_play", "bridge", "enabled")
_ON_HEARTBEAT = ("interval_minutes", "grace_minutes", "start_timer", "allow_get")
_RECIPIENTS = ("recipient_groups", "recipient_users")
_LABELS = {
    "name": "name",
    "escalation_policy": "escalation policy",
    "response_play": "response play",
    "bridge": "bridge",
    "interval_minutes": "interval (minutes)",
    "grace_minutes": "grace (minutes)",
    "start_timer": "start of the timer",
    "allow_get": "GET pings",
}
MIN_INTERVAL = Decimal("0.1")
MAX_INTERVAL = Decimal(44_640)  # 31 days


class IntegrationGone(DomainError):
    """The integration was deleted in the meantime."""

    code = "gone"
    title = "Deleted in the meantime"
    status = 404


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
    grace_minutes: Decimal | float = 0,
    start_timer: str = Heartbeat.StartTimer.WHEN_ENABLED,
    allow_get: bool = False,
) -> InboundIntegration:
    """Create a heartbeat integration; saved enabled, its clock starts now (domain: timing 1).

    Raises FieldError at the field that is wrong; then nothing is saved.
    """
    integration = InboundIntegration(
        organization=organization,
        type=InboundIntegration.Type.HEARTBEAT,
        name=name,
        escalation_policy=escalation_policy,
        response_play=response_play,
        bridge=bridge,
        enabled=enabled,
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
    recipients: dict[str, list[Any]] = {
        "recipient_groups": list(recipient_groups),
        "recipient_users": list(recipient_users),
    }
    _check(integration, heartbeat, recipients)
    with transaction.atomic():
        _save_named(integration)
        heartbeat.integration = integration
        if enabled:
            _start(integration, heartbeat, now=now)
        heartbeat.save(force_insert=True)
        for field, chosen in recipients.items():
            _name_recipients(integration, field, chosen)
        _log(integration, HeartbeatEvent.Kind.CREATED, "Created.", actor=actor, now=now)
    return integration


def update_heartbeat(
    integration: InboundIntegration,
    *,
    actor: User | None,
    now: datetime,
    **changed: Any,
) -> InboundIntegration:
    """Change some fields (those of `create_heartbeat`); a new interval recomputes the deadline at once.

    Raises FieldError at the field that is wrong, IntegrationGone after a deletion; then nothing is saved.
    """
    with transaction.atomic():
        # The row's lock holds off pings and the detector while state and deadline are computed from it.
        heartbeat = Heartbeat.objects.select_for_update().filter(pk=integration.pk).first()
        if heartbeat is None:
            raise IntegrationGone("This integration was deleted in the meantime.")
        integration = InboundIntegration.objects.select_related("escalation_policy", "response_play", "bridge").get(
            pk=integration.pk,
        )
        before = _values(integration, heartbeat)
        recipients = {field: list(changed.pop(field)) for field in _RECIPIENTS if field in changed}
        told = {field: set(getattr(integration, field).all()) for field in recipients}
        for field, value in changed.items():
            target = integration if field in _ON_INTEGRATION else heartbeat
            setattr(target, field, Decimal(str(value)) if field.endswith("_minutes") else value)
        _check(integration, heartbeat, recipients)
        after = _values(integration, heartbeat)
        _save_named(integration)
        for field, chosen in recipients.items():
            _name_recipients(integration, field, chosen)
        if before["enabled"] != integration.enabled:
            _switch(integration, heartbeat, actor=actor, now=now)
        elif before["start_timer"] != heartbeat.start_timer and heartbeat.state == Heartbeat.State.WAITING:
            _start(integration, heartbeat, now=now)
        elif heartbeat.armed_at is not None:
            heartbeat.deadline_at = _deadline(heartbeat)
        heartbeat.save(update_fields=[*_ON_HEARTBEAT, "state", "armed_at", "deadline_at", "suspended_until"])
        words = [
            f"{label} from {before[field]} to {after[field]}"
            for field, label in _LABELS.items()
            if before[field] != after[field]
        ] + [field.replace("_", " ") for field, chosen in recipients.items() if set(chosen) != told[field]]
        if why := _goes_otherwise(
            before, after, {field for field, chosen in recipients.items() if set(chosen) != told[field]}
        ):
            follow_integration(integration.pk, why, actor=actor, now=now)
        if words:
            _log(integration, HeartbeatEvent.Kind.CHANGED, f"Changed: {'; '.join(words)}.", actor=actor, now=now)
    integration.heartbeat = heartbeat
    return integration


def rotate_token(integration: InboundIntegration, *, actor: User | None, now: datetime) -> InboundIntegration:
    """Give the integration a new secret URL; the old one answers 404 from now on."""
    with transaction.atomic():
        integration.token = new_token()
        integration.save(update_fields=["token"])
        _log(integration, HeartbeatEvent.Kind.ROTATED, "The API URL was rotated.", actor=actor, now=now)
    return integration


def delete_integration(integration: InboundIntegration, *, actor: User | None, now: datetime) -> None:
    """Delete the integration; its open alert is closed with a note and kept."""
    with transaction.atomic():
        if not Heartbeat.objects.select_for_update().filter(pk=integration.pk).exists():
            raise IntegrationGone("This integration was deleted in the meantime.")
        _close_live(integration, "its heartbeat was deleted", tests_too=True, actor=actor, now=now)
        integration.delete()


def _switch(integration: InboundIntegration, heartbeat: Heartbeat, *, actor: User | None, now: datetime) -> None:
    if integration.enabled:
        _start(integration, heartbeat, now=now)
        _log(integration, HeartbeatEvent.Kind.ENABLED, "Enabled; a fresh interval starts.", actor=actor, now=now)
        return
    heartbeat.state = Heartbeat.State.DISABLED
    heartbeat.armed_at = heartbeat.deadline_at = None
    # Its pings could not close the alert any more, and nobody wants to be paged for what was switched off.
    _close_live(integration, "its heartbeat was disabled", actor=actor, now=now)
    _log(integration, HeartbeatEvent.Kind.DISABLED, "Disabled.", actor=actor, now=now)


def _start(integration: InboundIntegration, heartbeat: Heartbeat, *, now: datetime) -> None:
    """Start a fresh interval, at the end of the maintenance that is on, or wait for the first ping."""
    heartbeat.state = Heartbeat.State.WAITING
    heartbeat.suspended_until = suspended_until(integration, now=now)
    heartbeat.armed_at = heartbeat.deadline_at = None
    if heartbeat.start_timer == Heartbeat.StartTimer.WHEN_ENABLED:
        heartbeat.armed_at = max(now, heartbeat.suspended_until or now)
        heartbeat.deadline_at = _deadline(heartbeat)


def _deadline(heartbeat: Heartbeat) -> datetime:
    assert heartbeat.armed_at is not None  # noqa: S101 - the callers asked
    return timing.deadline(
        heartbeat.armed_at,
        interval_minutes=heartbeat.interval_minutes,
        grace_minutes=heartbeat.grace_minutes,
    )


def _close_live(
    integration: InboundIntegration, reason: str, *, tests_too: bool = False, actor: User | None, now: datetime
) -> None:
    live = Alert.objects.filter(integration_id=integration.pk, status__in=sorted(LIVE))
    if not tests_too:
        live = live.filter(is_test=False)
    close_alerts(list(live.values_list("pk", flat=True)), reason=reason, now=now, actor=actor)


def _save_named(integration: InboundIntegration) -> None:
    """Save; the database holds that the name is unique among the organization's integrations, ignoring case."""
    try:
        with transaction.atomic():
            integration.save()
    except IntegrityError as error:
        if "integration_name_unique" not in str(error):
            raise
        message = f"There is already an inbound integration named “{integration.name}”. Choose another name."
        raise FieldError("name", message, code="unique") from error


def _check(integration: InboundIntegration, heartbeat: Heartbeat, recipients: Mapping[str, list[Any]]) -> None:
    integration.name = clean_name(integration.name)
    if bool(integration.escalation_policy) == bool(integration.response_play):
        raise FieldError(
            "escalation_policy",
            "Choose an escalation policy or a response play."
            if not integration.escalation_policy
            else "Choose an escalation policy or a response play, not both.",
            code="required" if not integration.escalation_policy else "invalid",
        )
    if not MIN_INTERVAL <= heartbeat.interval_minutes <= MAX_INTERVAL:
        raise FieldError("interval_minutes", "The interval is from 0.1 to 44,640 minutes (31 days).")
    if not 0 <= heartbeat.grace_minutes <= MAX_INTERVAL:
        raise FieldError("grace_minutes", "The grace is from 0 to 44,640 minutes (31 days).")
    if heartbeat.start_timer not in Heartbeat.StartTimer.values:
        raise FieldError("start_timer", "The timer starts when_enabled or at the first_ping.")
    chosen: dict[str, list[Any]] = {
        "escalation_policy": [integration.escalation_policy],
        "response_play": [integration.response_play],
        "bridge": [integration.bridge],
        **recipients,
    }
    for field, rows in chosen.items():
        if any(row is not None and row.organization_id != integration.organization_id for row in rows):
            raise FieldError(field, "There is no such object.", code="does_not_exist")


def _values(integration: InboundIntegration, heartbeat: Heartbeat) -> dict[str, Any]:
    """Return the scalar fields as people read them in the log."""
    return {field: getattr(integration, field) for field in _ON_INTEGRATION} | {
        field: getattr(heartbeat, field) for field in _ON_HEARTBEAT
    }


def _goes_otherwise(before: Mapping[str, Any], after: Mapping[str, Any], renamed: Collection[str]) -> str:
    """Say what changed of where alerts of the integration go; nothing where the next one goes as the last one did."""
    rule, rule_before = (values["escalation_policy"] or values["response_play"] for values in (after, before))
    if rule != rule_before:
        return f"The integration was given “{rule}” instead of “{rule_before}”"
    return "The recipients of the integration were changed" if renamed else ""


def _name_recipients(integration: InboundIntegration, field: str, chosen: Iterable[Group | User]) -> None:
    """Name these recipients and no others, in this order: groups are told in it. A manager's `set` would lose it."""
    named = getattr(InboundIntegration, field)
    column = named.field.m2m_reverse_field_name()
    named.through.objects.filter(inboundintegration=integration).delete()
    named.through.objects.bulk_create(
        named.through(inboundintegration=integration, **{column: recipient}) for recipient in dict.fromkeys(chosen)
    )


def _log(integration: InboundIntegration, kind: str, text: str, *, actor: User | None, now: datetime) -> None:
    HeartbeatEvent.objects.create(integration=integration, at=now, kind=kind, actor=actor, text=text)
