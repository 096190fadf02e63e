"""What the pages of one heartbeat show of its past: strips, numbers by month, and its log."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from django.db.models import Q

from heartbeat_project.console.strips import STRIP_LENGTHS, Strip, strip_of
from heartbeat_project.kernel.durations import in_words
from integrations.availability.numbers import Numbers
from integrations.availability.periods import histories
from integrations.heartbeats.selectors import pings_of
from integrations.models.heartbeats import HeartbeatEvent
from integrations.models.history import Ping
from integrations.models.integrations import InboundIntegration
from integrations.models.outages import Outage

MONTHS: Final = 12
LOG_SIZE: Final = 50  # lines of a page of the log
KINDS: Final = {
    "": "Everything",
    "pings": "Pings",
    "silences": "Silences",
    "edits": "Edits",
    "rest": "Maintenance, outages, tests",
}
_KIND: Final = HeartbeatEvent.Kind
EDITS: Final = (_KIND.CREATED, _KIND.CHANGED, _KIND.ENABLED, _KIND.DISABLED, _KIND.ROTATED)
_EVENTS: Final = {
    "silences": (_KIND.MISSED, _KIND.RECOVERED, _KIND.QUARANTINED),
    "edits": EDITS,
    "rest": (_KIND.MAINTENANCE, _KIND.TESTED),
}


@dataclass(frozen=True, slots=True)
class Month:
    """The numbers of one month; `is_whole` is false if nothing is known of its beginning."""

    starts_at: datetime
    numbers: Numbers
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Past:
    """The strips and the months of a heartbeat, the newest month first."""

    strips: list[Strip]
    months: list[Month]
    known_since: datetime


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log: a ping, or an event with its text."""

    at: datetime
    kind: str
    text: str
    actor: str = ""


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of the log, newest first; `before` is where the next one begins, None after the last."""

    lines: list[LogLine]
    before: datetime | None


def past_of(integration: InboundIntegration, *, now: datetime, zone: tzinfo) -> Past | None:
    """Return the past of a heartbeat, with two statements; None if it was deleted meanwhile."""
    starts = _starts_of_months(now, zone=zone)
    history = histories([integration.pk], since=min(starts[0], now - STRIP_LENGTHS[-1].length), now=now).get(
        integration.pk
    )
    if history is None:
        return None
    months = []
    for start, end in zip(starts, [*starts[1:], now], strict=True):
        if end > history.known_since or end == now:
            months.append(
                Month(start, history.numbers(max(start, history.known_since), end), start >= history.known_since)
            )
    strips = [strip_of(history, strip_length, zone=zone) for strip_length in STRIP_LENGTHS]
    return Past(strips, months[::-1], history.known_since)


def log_of(integration: InboundIntegration, *, kind: str, before: datetime | None) -> LogPage:
    """Return a page of the log of one kind (see KINDS): what came before an instant, each source with one statement.

    Lines of the same instant stay on one page.
    """
    lines: list[LogLine] = []
    room = LOG_SIZE + 20
    earlier = Q() if before is None else Q(at__lt=before)
    if kind in {"", "pings"}:
        pings = pings_of(integration)
        if before is not None:
            pings = pings.filter(received_at__lt=before)
        lines += [_of_ping(ping) for ping in pings[:room]]
    if kind != "pings":
        events = HeartbeatEvent.objects.filter(earlier, integration=integration).exclude(kind=_KIND.OUTAGE)
        if kind:
            events = events.filter(kind__in=_EVENTS[kind])
        lines += [
            LogLine(
                event.at, event.kind, event.text or event.get_kind_display(), event.actor.name if event.actor else ""
            )
            for event in events.select_related("actor")[:room]
        ]
    if kind in {"", "rest"}:
        outages = Outage.objects.filter(ended_at__gt=integration.created_at)
        if before is not None:
            outages = outages.filter(ended_at__lt=before)
        lines += [_of_outage(outage) for outage in outages.order_by("-id")[:room]]
    lines.sort(key=lambda line: line.at, reverse=True)
    page = lines[:LOG_SIZE]
    rest = lines[LOG_SIZE:]
    while rest and rest[0].at == page[-1].at:
        page.append(rest.pop(0))
    return LogPage(page, page[-1].at if rest else None)


def line_of(event: HeartbeatEvent) -> LogLine:
    """Return an event as a line of the log."""
    actor = event.actor.name if event.actor else ""
    return LogLine(event.at, event.kind, event.text or event.get_kind_display(), actor)


def _of_ping(ping: Ping) -> LogLine:
    text = f"Ping: {ping.method}"
    if ping.source_ip:
        text += f" from {ping.source_ip}"
    if ping.user_agent:
        text += f" with {ping.user_agent}"
    return LogLine(ping.received_at, "ping", text)


def _of_outage(outage: Outage) -> LogLine:
    length = in_words(outage.ended_at - outage.started_at)
    text = f"Pings could not be received for {length}; that time does not count as silence."
    return LogLine(outage.ended_at, _KIND.OUTAGE, text)


def _starts_of_months(now: datetime, *, zone: tzinfo) -> list[datetime]:
    """Return when this month and those before it began in the zone, the oldest first."""
    start = now.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    starts = [start]
    for _ in range(MONTHS - 1):
        start = (start - timedelta(days=1)).replace(day=1)
        starts.append(start)
    return [at.astimezone(UTC) for at in reversed(starts)]
