"""Checks the condition of this installation: which parts are degraded, and whether its work stands still."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import OperationalError, connection, connections
from django.db.models import Max
from psycopg_pool import PoolTimeout

from accounts.services.installation_key import other_key
from accounts.services.restores import forgotten, held_for, held_sentence
from alerting.models.alerts import Alert
from escalation.engine.progress import Work, last_done, oldest_due, progress
from escalation.models.runs import EscalationRun
from heartbeat_project.bounded import Bounded
from heartbeat_project.disk import little_room, no_room
from heartbeat_project.kernel.durations import in_words
from integrations.heartbeats.clock_steps import clock_trouble
from integrations.heartbeats.history import overflow_warning
from integrations.models.heartbeats import Heartbeat
from integrations.models.outages import IngestState
from integrations.ping_lane.health import PROCESS_HEALTH
from integrations.upkeep.tick_log import broker_trouble

Result = TypeVar("Result")
# The check of one part: takes the keyword `now`, and returns what is wrong and what to do, or an empty text. It must be
# cheap: memory only, or one query over an index.
Part = Callable[..., str]

# Seconds for all queries of a probe, which must be answered within 4 s; a connection attempt may take 3 s.
ASK_SECONDS: Final = 3.5
# Progress is recorded every 5 s, so a record of this age is not yet a standstill.
FRESH: Final = timedelta(seconds=15)
UNNAMED_PROXY: Final = (
    "HEARTBEAT_BASE_URL is the address of a proxy, but HEARTBEAT_TRUSTED_PROXIES names none. The users of the proxy "
    "cannot be reliably distinguished, so somebody who tries many passwords may be refused late or never, and pings "
    "are recorded with the proxy's address. Add the proxy there."
)
# Engines tick every second; a larger delay needs a person to look at it.
ENGINE_LAG_LIMIT: Final = timedelta(seconds=30)
PULSE_AGE_LIMIT: Final = timedelta(seconds=10)  # a pulse is stored every second
DUE_LIMIT: Final = timedelta(minutes=2)  # for a message that waits
GIVEN_UP_COUNTS: Final = timedelta(hours=1)  # for which a page that was given up degrades its part

_ASKS: Final[Bounded[Any]] = Bounded("question to the database", seconds=ASK_SECONDS, most=4)


def in_time(work: Callable[[], Result]) -> Result:
    """Return the result of `work`, which queries the database, in another thread within ASK_SECONDS.

    Raises TimeoutError if the database does not answer or gives no connection. Within a transaction, `work` runs in
    this thread, because another one would not see the transaction's changes.
    """
    if connection.in_atomic_block:
        return work()

    def ask() -> Result:
        try:
            return work()
        finally:
            connections.close_all()

    try:
        result: Result = _ASKS.run(ask)
    except TimeoutError:
        # /readyz and the mail to the operator show this message.
        raise TimeoutError("the database does not answer") from None
    except OperationalError as error:
        if isinstance(error.__cause__, PoolTimeout):
            raise TimeoutError("the database gives no connection") from None
        raise
    return result


def degraded(*, now: datetime) -> dict[str, str]:
    """Return the degraded parts, each with a sentence that says what is wrong and what to do."""
    sentences = ((name, part(now=now)) for name, part in PARTS.items())
    return {name: sentence for name, sentence in sentences if sentence}


def judging(*, now: datetime) -> str:
    """Check whether deadlines are judged."""
    judged_at = last_done(Work.JUDGED)
    if _is_recent(judged_at, now=now) or _has_just_begun(now=now):
        return ""
    since = _since(judged_at, now=now)
    return f"No deadline has been judged {since}: silent jobs go unnoticed. Check the log of engine."


def listening(*, now: datetime) -> str:
    """Check whether any web process stores pings, and whether this one does."""
    stored_until = IngestState.objects.aggregate(at=Max("stored_until"))["at"]
    if (stored_until is not None and now - stored_until <= PULSE_AGE_LIMIT) or _has_just_begun(now=now):
        return PROCESS_HEALTH.degraded(now=now)
    reason = PROCESS_HEALTH.degraded(now=now) or "Check the logs of web."
    return f"No web process has been able to store pings {_since(stored_until, now=now)}. {reason}"


def engine(*, now: datetime) -> str:
    """Check whether an engine worker works, and how long its oldest work waits."""
    if _has_just_begun(now=now):
        return ""
    began = last_done(Work.ENGINE)
    if not _is_recent(began, now=now):
        return f"No engine worker has worked {_since(began, now=now)}. Check its log; start it again."
    lag = engine_lag(now=now)
    if lag <= ENGINE_LAG_LIMIT:
        return ""
    return f"The oldest due work of the engine has waited for {in_words(lag)}. Check its log; start another engine."


def delivery(*, now: datetime) -> str:
    """Check whether a delivery worker takes work."""
    began = last_done(Work.DELIVERY)
    if _is_recent(began, now=now) or _has_just_begun(now=now):
        return ""
    return f"No delivery worker has taken work {_since(began, now=now)}. Check its log; start it again."


def messages(*, now: datetime) -> str:
    """Check whether a message waits for too long."""
    due = oldest_due(now=now)
    if due is None or now - due <= DUE_LIMIT:
        return ""
    return f"A message has been due for {in_words(now - due)}. Check the mail server and the log of delivery."


def given_up(*, now: datetime) -> str:
    """Check whether a page was given up within the last hour."""
    last = last_done(Work.GIVEN_UP)
    if last is None or now - last > GIVEN_UP_COUNTS:
        return ""
    return f"A page was given up {in_words(now - last)} ago. The alert's timeline says why; correct the contact method."


def disk(*, now: datetime) -> str:  # noqa: ARG001 - as every part
    """Check the free space on the disk of the data folder."""
    return little_room(settings.DATA_DIR)


def history(*, now: datetime) -> str:  # noqa: ARG001 - as every part
    """Check whether the ping history lacks partitions."""
    return overflow_warning()


def proxy(*, now: datetime) -> str:  # noqa: ARG001 - as every part
    """Check whether there is a proxy that HEARTBEAT_TRUSTED_PROXIES does not name."""
    return UNNAMED_PROXY if settings.HAS_UNKNOWN_PROXY else ""


# /readyz and /metrics show every part in this table.
PARTS: Final[dict[str, Part]] = {
    "judging": judging,
    "listening": listening,
    "engine": engine,
    "delivery": delivery,
    "messages": messages,
    "given_up": given_up,
    "disk": disk,
    "broker": broker_trouble,
    "clock": clock_trouble,
    "history": history,
    "held": held_sentence,
    "secret_key": other_key,
    "proxy": proxy,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """The result of one look: `standstill` says which work stands still (empty: none), `watchdog` whether to ping."""

    standstill: str
    watchdog: bool


def condition(*, now: datetime) -> Condition:
    """Check in a few short queries whether deadlines are judged, messages are sent and the disk has space.

    An installation that is held since a restore stands still on purpose, until it seems to be forgotten.
    """
    if held_for(now=now) is not None:
        # A watch mails only after this time, so this looks ahead by as much.
        return Condition(forgotten(now=now + timedelta(seconds=settings.STANDSTILL_SECONDS)), watchdog=False)
    records = progress()
    trouble = _not_judging(records, now=now)
    trouble = f"{trouble} {no_room(settings.DATA_DIR)}".strip()
    due = oldest_due(now=now)
    if not trouble and due is not None and now - due > FRESH and not _is_fresh(records, Work.SENT, now=now):
        trouble = "Messages are due, and none is sent."
        if not _is_fresh(records, Work.DELIVERY, now=now):
            trouble += " No delivery worker takes work."
    return Condition(trouble, watchdog=not trouble and (due is None or now - due <= DUE_LIMIT))


def _not_judging(records: Mapping[str, Any], *, now: datetime) -> str:
    if _is_fresh(records, Work.JUDGED, now=now):
        return ""
    if not _is_fresh(records, Work.ENGINE, now=now):
        return "No deadline is judged. No engine worker works."
    return f"No deadline is judged. {listening(now=now)}".rstrip()


def _is_fresh(records: Mapping[str, Any], work: Work, *, now: datetime) -> bool:
    return work in records and _is_recent(records[work].at, now=now)


def _is_recent(at: datetime | None, *, now: datetime) -> bool:
    # A time far in the future was recorded before the clock was set back, and nothing was done since.
    return at is not None and abs(now - at) <= FRESH


def _has_just_begun(*, now: datetime) -> bool:
    """Return whether this web process has just started: the records then are from before the restart."""
    return PROCESS_HEALTH.began_at is not None and timedelta() <= now - PROCESS_HEALTH.began_at <= FRESH


def _since(at: datetime | None, *, now: datetime) -> str:
    return "since the first start" if at is None else f"for {in_words(now - at)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def engine_lag(*, now: datetime) -> timedelta:
    """Return how long the oldest due work of the engine has been waiting; zero if none is due."""
    # The oldest first, by heartbeat_due and run_due. The smallest of all that is due would be a scan of every run.
    heartbeat = (
        Heartbeat.objects.filter(state__in=[Heartbeat.State.WAITING, Heartbeat.State.HEALTHY], deadline_at__lte=now)
        .order_by("deadline_at")
        .values_list("deadline_at", flat=True)
        .first()
    )
    run = (
        EscalationRun.objects.filter(next_step_at__lte=now, parked=False, alert__status=Alert.Status.OPEN)
        .order_by("next_step_at")
        .values_list("next_step_at", flat=True)
        .first()
    )
    waiting = [at for at in (heartbeat, run) if at is not None]
    return now - min(waiting) if waiting else timedelta()
