"""Maintenance windows: pings are recorded, nothing opens, and a fresh interval starts at the end."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from django.db import transaction
from django.db.models import F, Max, Q, QuerySet
from django.db.models.functions import Greatest

from accounts.models import Organization
from accounts.services.saving import clean_name
from heartbeat_project.kernel.errors import FieldError
from integrations.models import Heartbeat, HeartbeatEvent, InboundIntegration, MaintenanceWindow

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
) -> MaintenanceWindow:
    """Plan a window; one that has begun takes hold at once.

    Raises FieldError for a window that ends before it starts or beyond the calendar, or that names nothing.
    """
    window = MaintenanceWindow(organization=organization)
    _set(window, name=name, starts_at=starts_at, ends_at=ends_at, all_integrations=all_integrations)
    chosen = list(integrations)
    _check(window, chosen)
    with transaction.atomic():
        window.save()
        window.integrations.set(chosen)
        suspend_heartbeats(now=now)
    return window


def update_window(
    window: MaintenanceWindow,
    *,
    now: datetime,
    integrations: Iterable[InboundIntegration] | None = None,
    **changed: object,
) -> MaintenanceWindow:
    """Change a window; heartbeats that it no longer covers get a fresh interval from now."""
    with transaction.atomic():
        window = MaintenanceWindow.objects.select_for_update().get(pk=window.pk)
        covered = set(_covered(window).values_list("pk", flat=True)) if window.applied_at else set()
        _set(window, **changed)
        chosen = list(window.integrations.all() if integrations is None else integrations)
        _check(window, chosen)
        window.applied_at = None
        window.save()
        window.integrations.set(chosen)
        _release(covered, now=now)
        suspend_heartbeats(now=now)
    return window


def delete_window(window: MaintenanceWindow, *, now: datetime) -> None:
    """Delete a window; the heartbeats that were in it get a fresh interval from now."""
    with transaction.atomic():
        window = MaintenanceWindow.objects.select_for_update().get(pk=window.pk)
        covered = set(_covered(window).values_list("pk", flat=True)) if window.applied_at else set()
        window.delete()
        _release(covered, now=now)


def suspend_heartbeats(*, now: datetime) -> None:
    """Let each window that has begun take hold of its heartbeats.

    Their timers are armed at the window's end, so nothing has to happen when it ends. A window that began and ended
    while no tick ran still takes hold.
    """
    with transaction.atomic():
        begun = MaintenanceWindow.objects.select_for_update(skip_locked=True).filter(
            applied_at=None,
            starts_at__lte=now,
        )
        for window in begun.order_by("starts_at", "id")[:100]:
            _suspend(_covered(window), until=window.ends_at)
            HeartbeatEvent.objects.bulk_create(
                (
                    HeartbeatEvent(
                        integration_id=pk,
                        at=now,
                        kind=HeartbeatEvent.Kind.MAINTENANCE,
                        text=f"Maintenance “{window.name}” until {window.ends_at:%Y-%m-%d %H:%M} UTC.",
                    )
                    for pk in _covered(window).values_list("pk", flat=True).iterator(chunk_size=5_000)
                ),
                batch_size=5_000,
            )
            window.applied_at = now
            window.save(update_fields=["applied_at"])


def suspended_until(integration: InboundIntegration, *, now: datetime) -> datetime | None:
    """Return the end of the window that covers this integration now, or None."""
    windows = MaintenanceWindow.objects.filter(
        Q(all_integrations=True) | Q(integrations=integration),
        organization_id=integration.organization_id,
        starts_at__lte=now,
        ends_at__gt=now,
    )
    end: datetime | None = windows.aggregate(end=Max("ends_at"))["end"]
    return end


def _set(window: MaintenanceWindow, **fields: object) -> None:
    for field, value in fields.items():
        setattr(window, field, value)


def _check(window: MaintenanceWindow, chosen: list[InboundIntegration]) -> None:
    window.name = clean_name(window.name)
    if window.ends_at <= window.starts_at:
        raise FieldError("ends_at", "The window must end after it starts.")
    if window.ends_at > _LATEST_END:
        raise FieldError("ends_at", "The window must end before the year 9999.")
    if not chosen and not window.all_integrations:
        raise FieldError("integrations", "Choose integrations, or tick all integrations.", code="required")
    if any(integration.organization_id != window.organization_id for integration in chosen):
        raise FieldError("integrations", "There is no such integration.", code="does_not_exist")


def _covered(window: MaintenanceWindow) -> QuerySet[Heartbeat]:
    rows = Heartbeat.objects.filter(integration__organization_id=window.organization_id)
    return rows if window.all_integrations else rows.filter(integration__maintenance_windows=window)


def _suspend(rows: QuerySet[Heartbeat], *, until: datetime) -> None:
    """Arm running timers at `until`; a heartbeat that is missed or waits for its first ping only learns of it."""
    ids = list(rows.values_list("pk", flat=True))
    chosen = Heartbeat.objects.filter(pk__in=ids)
    chosen.update(suspended_until=Greatest("suspended_until", until))
    running = chosen.filter(state__in=_RUNNING, deadline_at__isnull=False)
    running.update(
        deadline_at=Greatest("armed_at", until) + (F("deadline_at") - F("armed_at")),
        armed_at=Greatest("armed_at", until),
    )


def _release(ids: set[int], *, now: datetime) -> None:
    """Take the heartbeats out of maintenance with a fresh interval; other windows take hold of theirs again."""
    chosen = Heartbeat.objects.filter(pk__in=ids)
    chosen.filter(state__in=_RUNNING, armed_at__gt=now).update(
        deadline_at=now + (F("deadline_at") - F("armed_at")),
        armed_at=now,
    )
    chosen.update(suspended_until=None)
    MaintenanceWindow.objects.filter(
        Q(all_integrations=True) | Q(integrations__in=ids),
        starts_at__lte=now,
        ends_at__gt=now,
    ).update(applied_at=None)
