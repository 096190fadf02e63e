"""The Celery app: the broker only wakes workers up; the work and its due times are rows in PostgreSQL."""

import gc
import logging
from collections.abc import Callable
from typing import Any, Final

from celery import Celery, signals
from celery.concurrency import get_implementation
from django.db import connections
from django.template import engines

from heartbeat_project import ticks
from heartbeat_project.configuration import load_settings
from heartbeat_project.kernel import clock
from heartbeat_project.schedule import BEAT_SCHEDULE, PERIODIC

load_settings()

log = logging.getLogger(__name__)

# How many more containers than were freed may be made before the garbage collector looks for unreachable ones. A
# message makes some thousands, and few of them stay: with Python's default of 700, it looked several times for each.
GC_THRESHOLD: Final = 10_000

app = Celery("heartbeat", task_cls=ticks.Task)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = BEAT_SCHEDULE
app.autodiscover_tasks()


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Do nothing: without a receiver of this signal, Celery would replace the logging of the settings with its own."""


@signals.worker_init.connect
def tick_without_the_broker(sender: Any, **_: Any) -> None:
    """Start the ticker of this worker, before the worker connects to the broker."""
    pool = get_implementation(sender.pool_cls).__module__.rpartition(".")[2]
    if pool not in {"thread", "solo"}:
        log.warning("a worker that forks does no work while the broker is away; start it with --pool threads")
        return
    from integrations.upkeep import tick_log as book  # noqa: PLC0415 - needs the app registry

    queues = sorted(set(app.amqp.queues.consume_from))
    periodic = {name: every for name, (queue, every) in PERIODIC.items() if queue in queues}
    threads = 1 if pool == "solo" else sender.concurrency
    # Engine workers log every minute and the others rarely, so that the installation has few such lines.
    line_seconds = 60.0 if "engine" in queues else 600.0
    ticks.watch(
        ticks.Ticker(
            periodic,
            book=book,
            run_task=run_task,
            threads=threads,
            label=f"{' and '.join(queues)} worker",
            line_seconds=line_seconds,
            notice=notify_of_the_broker,
            between=connections.close_all,
        )
    )


def run_task(name: str) -> None:
    """Run a task in this thread as Celery would, then close its database connections."""
    task = app.tasks[name]
    try:
        ticks.run(name, task.run)
    finally:
        connections.close_all()


def notify_of_the_broker() -> None:
    """Mail the operator that no ticks come over the broker; at most once an hour for the whole installation."""
    from escalation.notifications.notices.operator import notify_operator  # noqa: PLC0415 - needs the app registry

    notify_operator(
        "broker",
        subject="Heartbeat goes on without its broker",
        text="No ticks have come over the broker (REDIS_URL) for half a minute.\n"
        "Alerts are still opened and messages are still sent: every second, the workers do their work by themselves. "
        "Nothing is lost, and nothing is sent twice when the broker is back.\n"
        "Check whether Redis or Valkey runs, answers, accepts the password and has memory left, and whether beat runs; "
        "the log has the errors of the workers. /readyz says “degraded” until ticks come over the broker again.",
        now=clock.now(),
        part_of_standstill=True,
    )


@signals.worker_shutting_down.connect
def begin_no_more_ticks(**_: Any) -> None:
    """Stop starting ticks; this runs in a signal handler and must not wait."""
    if (ticker := ticks.current_ticker()) is not None:
        ticker.finish()


@signals.worker_shutdown.connect
def end_ticks(**_: Any) -> None:
    """Wait for the running ticks, as Celery has waited for its tasks."""
    if (ticker := ticks.current_ticker()) is not None:
        ticker.stop(seconds=5)


@signals.worker_ready.connect
def reached_the_broker(**_: Any) -> None:
    """Let the ticker know that ticks can come from now on."""
    if (ticker := ticks.current_ticker()) is not None:
        ticker.reached_the_broker()


@signals.worker_ready.connect
def warm_up_worker(**_: Any) -> None:
    """Load the templates for the first mail, and exclude all present objects from garbage collection: they stay."""
    if "delivery" in app.amqp.queues.consume_from:
        engines.all()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


@signals.worker_init.connect
def watch_the_work(**_: Any) -> None:
    """Start the watch for standstills in each worker, even if it never reaches the broker."""
    from heartbeat_project import watch  # noqa: PLC0415 - needs the app registry

    signals.worker_shutting_down.connect(_ignoring_arguments(watch.start("worker")), weak=False)


def _ignoring_arguments(call: Callable[[], None]) -> Callable[..., None]:
    return lambda **_: call()
