"""The next contact method: if a message fails or is not answered, its reader's next one is used at once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from accounts.models.contact_methods import ContactMethod, Priority
from accounts.windows import is_used
from escalation.models.nights import Nights
from escalation.models.notifications import RETRIED, TO_OWNER, Notification
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.sql import statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import zone

_Kind, _Status = Notification.Kind, Notification.Status
# The kinds of messages that are tried over a person's next contact method if one fails.
PERSONAL: Final = (_Kind.PAGE, *TO_OWNER)
# The rank of a method that was deleted, behind all others: its position is not known any more.
_REMOVED: Final = (2**31, 0)


class Used(NamedTuple):
    """A person whose next method is used now, and the step of the alert that it is used for."""

    alert_id: int
    run_id: int | None
    user_id: int
    step: int


class _Row(NamedTuple):
    pk: UUID
    alert: int
    user: int
    kind: str
    step: int
    status: str
    attempts: int
    next_attempt_at: datetime | None
    contact_method: int | None
    run: int | None
    urgency: int
    asked_for: bool
    failing_since: datetime | None
    limited_since: datetime | None
    priority: str


def use_next_methods(notification_ids: Iterable[UUID], *, now: datetime) -> set[Used]:
    """Make the one message due now that comes next after each of these; return the people who get one.

    The messages need not have failed for good: their own retries go on. Nothing is done if the next method is in use
    already. Methods that are closed at this hour are skipped, and nobody is woken for an alert that waits for the
    morning.
    """
    ids = set(notification_ids)
    groups = _messages_beside(ids)
    if not groups:
        return set()
    rows = [row for group in groups.values() for row in group]
    methods_by_id = ContactMethod.objects.select_related("user").in_bulk({row.contact_method for row in rows})
    methods = {pk: method for pk, method in methods_by_id.items() if method.user is not None and method.user.is_active}
    nights = _nights({row.run for row in rows if row.run is not None})
    chosen_ids: list[UUID] = []
    urgencies: list[int] = []
    counts: list[bool] = []
    for group in groups.values():
        row = _next(group, ids, methods, nights, now=now)
        if row is None:
            continue
        # As urgent as the message that failed. A failed repeat is not in the group of first uses: then as planned.
        failed_urgencies = [failed.urgency % RETRIED for failed in group if failed.pk in ids]
        chosen_ids.append(row.pk)
        urgencies.append(min(failed_urgencies, default=row.urgency))
        # Over a method that fails already, nobody counts as reached.
        counts.append(methods[row.contact_method or 0].failing_since is None)
    if not chosen_ids:
        return set()
    parameters: dict[str, Any] = {"ids": chosen_ids, "urgencies": urgencies, "counts": counts, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "expedite_methods"), parameters)
        used = {Used(*row) for row in cursor.fetchall()}
    if used:
        wake_on_commit("escalation.deliver_due", queue="delivery")
    return used


def _messages_beside(ids: set[UUID]) -> dict[tuple[int, int, str, int], list[_Row]]:
    """Return the messages of the same steps to the same people, by (alert, user, kind, step); without repeats."""
    failed = Notification.objects.filter(pk__in=ids, kind__in=PERSONAL, user__isnull=False, alert__isnull=False)
    keys = set(failed.values_list("alert_id", "user_id", "kind", "step"))
    if not keys:
        return {}
    # Served by notification_once. The four conditions may match more than the keys: the loop below sorts that out.
    beside = Notification.objects.filter(
        alert__in={alert for alert, _, _, _ in keys},
        kind__in={kind for _, _, kind, _ in keys},
        step__in={step for _, _, _, step in keys},
        user__in={user for _, user, _, _ in keys},
        repeat=0,
    ).order_by()
    groups: dict[tuple[int, int, str, int], list[_Row]] = defaultdict(list)
    fields = (
        *("pk", "alert_id", "user_id", "kind", "step", "status", "attempts", "next_attempt_at", "contact_method_id"),
        *("run_id", "urgency", "asked_for", "failing_since", "limited_since", "alert__priority"),
    )
    for values in beside.values_list(*fields):
        row = _Row(*values)
        key = (row.alert, row.user, row.kind, row.step)
        if key in keys:
            groups[key].append(row)
    return groups


def _nights(run_ids: set[int]) -> dict[int, Nights]:
    """Return the nights of those of the runs whose alerts wait for a morning."""
    waiting = EscalationRun.objects.filter(pk__in=run_ids, plan__low_waits_until__isnull=False)
    rows = waiting.exclude(plan__low_waits_until=None).values_list("pk", "plan__low_waits_until")
    nights_by_id = ((pk, Nights.until(until)) for pk, until in rows)
    return {pk: nights for pk, nights in nights_by_id if nights is not None}


def _next(
    group: Sequence[_Row],
    ids: set[UUID],
    methods: Mapping[int, ContactMethod],
    nights: Mapping[int, Nights],
    *,
    now: datetime,
) -> _Row | None:
    """Return the message of the group that is to be sent now; None without one, or if a next one is in use already."""

    def rank(row: _Row) -> tuple[int, int]:
        method = methods.get(row.contact_method or 0)
        return (method.position, method.pk) if method is not None else _REMOVED

    failed_ranks = [rank(row) for row in group if row.pk in ids]
    others = [row for row in group if row.pk not in ids]
    if failed_ranks and any(_is_in_use(row, now=now) and rank(row) > max(failed_ranks) for row in others):
        return None
    candidates = [
        row
        for row in others
        if _waits(row, now=now) and _is_usable(row, methods.get(row.contact_method or 0), nights, now=now)
    ]
    # By its delay first, then in the person's order: the method that would have been used next anyway.
    return min(candidates, key=lambda row: (row.next_attempt_at or now, *rank(row)), default=None)


def _is_in_use(row: _Row, *, now: datetime) -> bool:
    """Return whether the message was accepted, is being sent for the first time, or is about to be."""
    if row.status in {_Status.ACCEPTED, _Status.DELIVERED}:
        return True
    if row.failing_since is not None or row.limited_since is not None:
        return False
    due = row.next_attempt_at is not None and row.next_attempt_at <= now
    return row.status == _Status.SENDING or (row.status == _Status.PENDING and due)


def _waits(row: _Row, *, now: datetime) -> bool:
    """Return whether the message waits for its first try; not for a limit, which decides itself when it has room."""
    untouched = row.attempts == 0 and row.failing_since is None and row.limited_since is None
    return row.status == _Status.PENDING and untouched and (row.next_attempt_at or now) > now


def _is_usable(row: _Row, method: ContactMethod | None, nights: Mapping[int, Nights], *, now: datetime) -> bool:
    """Return whether the person uses this method at this hour for this alert; not at night if it can wait."""
    if method is None or method.user is None or method.verified_at is None or not method.enabled:
        return False
    time_zone = method.user.time_zone
    night = nights.get(row.run or 0) if row.kind == _Kind.PAGE and not row.asked_for else None
    if night is not None and night.morning(now, zone=zone(time_zone)) is not None:
        return False
    return is_used(method, at=now, time_zone=time_zone, priority=row.priority or Priority.CRITICAL)
