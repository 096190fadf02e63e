"""Maintenance windows: pings are recorded, nothing opens, and a fresh interval starts at the end."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest

from accounts.models.organizations import Organization
from accounts.services.saving import clean_name
from heartbeat_project.kernel.errors import FieldError
from integrations.availability.periods import end_maintenance, record_maintenance
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from integrations.models.integrations import InboundIntegration
from integrations.models.labels import clean_tags
from integrations.models.windows import MaintenanceWindow

# Deadlines lie up to 62 days after a window's end, and Python's calendar ends with the year 9999.
_LATEST_END: Final = datetime(9999, 1, 1, tzinfo=UTC)
_RUNNING = [Heartbeat.State.WAITING, Heartbeat.State.HEALTHY]


def create_window(
    organization: Organization,
    *,
    name: str,
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
    integrations: Iterable[InboundIntegration] = (),
    all_integrations: bool = False,
    tags: Iterable[str] = (),
) -> MaintenanceWindow:
    """Create a window; one that has begun suspends its heartbeats at once.

    Raises FieldError for a window that ends before it starts or beyond the calendar, or that covers nothing.
    """
    window = MaintenanceWindow(
        organization=organization,
        name=name,
        starts_at=starts_at,
        ends_at=ends_at,
        all_integrations=all_integrations,
        tags=list(tags),
    )
    covered = list(integrations)
    _check(window, covered)
    with transaction.atomic():
        window.save()
        window.integrations.set(covered)
        suspend_heartbeats(now=now)
    return window


def update_window(
    window: MaintenanceWindow,
    *,
    now: datetime,
    name: str | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    all_integrations: bool | None = None,
    integrations: Iterable[InboundIntegration] | None = None,
    tags: Iterable[str] | None = None,
) -> MaintenanceWindow:
    """Change what is not None; heartbeats that the window no longer covers get a fresh interval from now.

    Raises FieldError as `create_window` does.
    """
    with transaction.atomic():
        window = MaintenanceWindow.objects.select_for_update().get(pk=window.pk)
        suspended = _suspended_by(window)
        if name is not None:
            window.name = name
        if starts_at is not None:
            window.starts_at = starts_at
        if ends_at is not None:
            window.ends_at = ends_at
        if all_integrations is not None:
            window.all_integrations = all_integrations
        if tags is not None:
            window.tags = list(tags)
        covered = list(window.integrations.all() if integrations is None else integrations)
        _check(window, covered)
        window.applied_at = None
        window.save()
        window.integrations.set(covered)
        _release(suspended, now=now)
        suspend_heartbeats(now=now)
    return window


def delete_window(window: MaintenanceWindow, *, now: datetime) -> None:
    """Delete a window; the heartbeats that were in it get a fresh interval from now."""
    with transaction.atomic():
        window = MaintenanceWindow.objects.select_for_update().get(pk=window.pk)
        suspended = _suspended_by(window)
        window.delete()
        _release(suspended, now=now)


def suspend_heartbeats(*, now: datetime) -> None:
    """Suspend the heartbeats of each window that has begun and was not applied yet; at most 100 windows.

    Their timers are armed at the window's end, so nothing has to happen when it ends. A window that began and ended
    while no tick ran is applied, too.
    """
    for _ in range(100):
        # One transaction for each window: two windows lock heartbeats in no common order.
        with transaction.atomic():
            begun = MaintenanceWindow.objects.select_for_update(skip_locked=True).filter(
                applied_at=None,
                starts_at__lte=now,
            )
            window = begun.order_by("starts_at", "id").first()
            if window is None:
                return
            suspended = _suspend(_covered(window), until=window.ends_at)
            record_maintenance(suspended, starts_at=window.starts_at, ends_at=window.ends_at)
            HeartbeatEvent.objects.bulk_create(
                (
                    HeartbeatEvent(
                        integration_id=pk,
                        at=now,
                        kind=HeartbeatEvent.Kind.MAINTENANCE,
                        text=f"Maintenance “{window.name}” until {window.ends_at:%Y-%m-%d %H:%M} UTC.",
                    )
                    for pk in suspended
                ),
                batch_size=5_000,
            )
            window.applied_at = now
            window.save(update_fields=["applied_at"])


def suspended_until(integration: InboundIntegration, *, now: datetime) -> datetime | None:
    """Return the end of the window that covers this integration now, or None."""
    windows = MaintenanceWindow.objects.filter(
        covering(integration, tags=integration.tags),
        organization_id=integration.organization_id,
        starts_at__lte=now,
        ends_at__gt=now,
    )
    end: datetime | None = windows.aggregate(end=Max("ends_at"))["end"]
    return end


def covering(integration: Any, *, tags: Any) -> Q:
    """Return the condition for windows that cover an integration with these tags; both may be expressions."""
    return Q(all_integrations=True) | Q(integrations=integration) | Q(tags__overlap=tags)


def follow_tags(integration: InboundIntegration, *, now: datetime) -> None:
    """Suspend or release a heartbeat, if windows that last cover it, or no longer do, since its tags were changed.

    The caller holds the lock of the heartbeat.
    """
    heartbeat = Heartbeat.objects.get(pk=integration.pk)
    until = suspended_until(integration, now=now)
    if until == heartbeat.suspended_until or (until is None and (heartbeat.suspended_until or now) <= now):
        return
    if heartbeat.suspended_until is not None and heartbeat.suspended_until > now:
        _release({heartbeat.pk}, now=now, applies_again=False)
    if until is not None:
        ids = _suspend(Heartbeat.objects.filter(pk=heartbeat.pk), until=until)
        record_maintenance(ids, starts_at=now, ends_at=until)


def _check(window: MaintenanceWindow, covered: list[InboundIntegration]) -> None:
    window.name = clean_name(window.name)
    if window.ends_at <= window.starts_at:
        raise FieldError("ends_at", "The window must end after it starts.")
    if window.ends_at > _LATEST_END:
        raise FieldError("ends_at", "The window must end before the year 9999.")
    window.tags = clean_tags(window.tags)
    if not covered and not window.all_integrations and not window.tags:
        text = "Choose integrations, write tags, or tick all integrations."
        raise FieldError("integrations", text, code="required")
    if any(integration.organization_id != window.organization_id for integration in covered):
        raise FieldError("integrations", "There is no such integration.", code="does_not_exist")


def _covered(window: MaintenanceWindow) -> QuerySet[Heartbeat]:
    rows = Heartbeat.objects.filter(integration__organization_id=window.organization_id)
    if window.all_integrations:
        return rows
    if not window.tags:
        return rows.filter(integration__maintenance_windows=window)
    named = window.integrations.values("pk")
    tagged = InboundIntegration.objects.filter(organization_id=window.organization_id, tags__overlap=window.tags)
    # Not a disjunction, for which the planner would read all heartbeats.
    return rows.filter(pk__in=named.order_by().union(tagged.order_by().values("pk")))


def _suspended_by(window: MaintenanceWindow) -> set[int]:
    """Return the heartbeats that the window covers; none before it was applied."""
    return set(_covered(window).values_list("pk", flat=True)) if window.applied_at else set()


def _suspend(rows: QuerySet[Heartbeat], *, until: datetime) -> list[int]:
    """Arm running timers at `until` and return the ids; without a running timer, only the suspension's end is set."""
    ids = _locked(rows)
    heartbeats = Heartbeat.objects.filter(pk__in=ids)
    heartbeats.update(suspended_until=Greatest("suspended_until", until))
    running = heartbeats.filter(state__in=_RUNNING, deadline_at__isnull=False)
    running.update(
        deadline_at=Greatest("armed_at", until) + (F("deadline_at") - F("armed_at")),
        armed_at=Greatest("armed_at", until),
    )
    return ids


def _locked(rows: QuerySet[Heartbeat]) -> list[int]:
    """Lock the rows by id, as a batch of pings does: in another order the two might deadlock."""
    return list(rows.order_by("pk").select_for_update(of=("self",)).values_list("pk", flat=True))


def _release(ids: set[int], *, now: datetime, applies_again: bool = True) -> None:
    """Take the heartbeats out of maintenance with a fresh interval.

    Other windows that cover one of them now are marked for `suspend_heartbeats`, which applies them again.
    """
    heartbeats = Heartbeat.objects.filter(pk__in=_locked(Heartbeat.objects.filter(pk__in=ids)))
    end_maintenance(ids, now=now)
    heartbeats.filter(state__in=_RUNNING, armed_at__gt=now).update(
        deadline_at=now + (F("deadline_at") - F("armed_at")),
        armed_at=now,
    )
    heartbeats.update(suspended_until=None)
    if not applies_again:
        return
    tagged = InboundIntegration.objects.filter(pk__in=ids, organization_id=OuterRef("organization_id"))
    MaintenanceWindow.objects.filter(
        Q(all_integrations=True) | Q(integrations__in=ids) | Exists(tagged.filter(tags__overlap=OuterRef("tags"))),
        starts_at__lte=now,
        ends_at__gt=now,
    ).update(applied_at=None)
