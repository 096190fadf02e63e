"""Which ticks began, by Celery and by workers themselves; workers share it, and `/metrics` shows it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import F, Max, Q
from django.db.models.functions import Now

from heartbeat_project.kernel.sql import statement
from integrations.models.outages import Tick

# The start of a task that never ran: older than any clock of a server.
NEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)
# A worker without the broker runs its ticks each second, so one of the last 15 s means that the broker is away.
ALONE: Final = timedelta(seconds=15)


def ages(tasks: Sequence[str]) -> dict[str, float]:
    """Return for each task the seconds since its newest tick that was noted, by the database's clock."""
    ticks = Tick.objects.filter(task__in=tasks).annotate(now=Now()).values_list("task", "started_at", "now")
    seconds = {task: (now - started_at).total_seconds() for task, started_at, now in ticks}
    if len(seconds) < len(tasks):
        Tick.objects.bulk_create([Tick(task=task, started_at=NEVER) for task in tasks], ignore_conflicts=True)
        return {**dict.fromkeys(tasks, timedelta(days=1).total_seconds()), **seconds}
    return seconds


def note(task: str, *, count: int, age: float) -> None:
    """Note `count` ticks by Celery, of which the newest began `age` seconds ago."""
    parameters: dict[str, Any] = {"task": task, "count": count, "age": timedelta(seconds=age)}
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "note_ticks"), parameters)
        if cursor.rowcount == 0:
            ages([task])
            cursor.execute(statement("integrations", "note_ticks"), parameters)


def claim(task: str, *, every: float) -> bool:
    """Claim the task's next tick for this worker, unless one began within `every` seconds; return whether it did.

    The UPDATE decides: of two workers that try at once, one finds the tick no longer due.
    """
    period = timedelta(seconds=every)
    due = Q(started_at__lte=Now() - period) | Q(started_at__gt=Now() + period)
    return bool(
        Tick.objects.filter(due, task=task).update(started_at=Now(), by_itself=F("by_itself") + 1, by_itself_at=Now())
    )


def broker_trouble(*, now: datetime) -> str:
    """Return a warning while workers tick without the broker, else an empty text."""
    newest = Tick.objects.aggregate(at=Max("by_itself_at"))["at"]
    if newest is None or abs(now - newest) > ALONE:
        return ""
    return (
        "No ticks come over the broker, so the workers tick by themselves: alerts and messages go on. "
        "Check that the broker (REDIS_URL) and beat run."
    )


def counts() -> list[tuple[str, int, int]]:
    """Return for each periodic task how many ticks came by Celery, and how many workers ran by themselves."""
    return list(Tick.objects.order_by("task").values_list("task", "by_celery", "by_itself"))
