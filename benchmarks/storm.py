"""Measures a storm: ten thousand heartbeats go silent in the same second, and recover in the same second."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from django.db import connection

from benchmarks.fill import TEAMS, fill
from benchmarks.harness import web
from benchmarks.inbox import Comparison, Inbox, compare
from benchmarks.pings import LANE
from benchmarks.rows import row, save, say
from benchmarks.workers import ping_each, workers
from heartbeat_project.kernel import clock

SILENT, RUNS = 10_000, 3
OPENED_WITHIN, NOTIFIED_WITHIN = 2.0, 10.0  # bounds in seconds
# After a run that takes longer than this (seconds), no further run is needed.
ONCE_IS_ENOUGH = 60.0
QUIET_SECONDS = 5.0
UNSENT = "SELECT count(*) FROM escalation_notification WHERE next_attempt_at IS NOT NULL"
LIVE = "SELECT count(*) FROM alerting_alert WHERE status = 'open'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Storm:
    """One storm and the recovery from it; times in seconds after the deadline, or after the last ping's answer."""

    opened: float
    notified: float
    pages: int
    wrong_pages: int
    pinging: float
    closed: float
    recovery_notified: float
    recovery_mails: int
    wrong_recoveries: int


def storm() -> list[dict[str, Any]]:
    """Measure until all alerts are open and everybody is notified, for one person and for five people per alert."""
    rows: list[dict[str, Any]] = []
    detail = {}
    for people in (1, TEAMS):
        runs: list[Storm] = []
        while len(runs) < RUNS and not any(run.notified > ONCE_IS_ENOUGH for run in runs):
            say(f"{people} people for each alert, run {len(runs) + 1} of {RUNS}")
            runs.append(_storm(people))
            newest = runs[-1]
            say(f"open after {newest.opened:.1f} s, notified after {newest.notified:.1f} s in {newest.pages} messages")
        rows += _rows(people, runs)
        detail[str(people)] = [{name: getattr(run, name) for name in Storm.__slots__} for run in runs]
    save("storm", rows, storms=detail)
    return rows


def _rows(people: int, runs: list[Storm]) -> list[dict[str, Any]]:
    def figure_row(label: str, name: str, *, unit: str = "s", at_most: float | None = None) -> dict[str, Any]:
        values = [float(getattr(run, name)) for run in runs]
        # A figure that must be zero is judged by the worst run.
        measured = max(values) if at_most == 0 else median(values)
        return row(f"{SILENT:,} silent, {recipients}: {label}", measured, unit=unit, at_most=at_most, runs=values)

    recipients = f"{people} people for each" if people > 1 else "one person for each"
    return [
        figure_row("all alerts open", "opened", at_most=OPENED_WITHIN),
        figure_row("everybody notified", "notified", at_most=NOTIFIED_WITHIN),
        figure_row("messages", "pages", unit=""),
        figure_row("alerts lost, doubled or sent to strangers", "wrong_pages", unit="", at_most=0),
        figure_row("all ping again, until the last answer", "pinging"),
        figure_row("then all alerts closed", "closed"),
        figure_row("then everybody notified of it", "recovery_notified"),
        figure_row("recovery messages", "recovery_mails", unit=""),
        figure_row("recoveries lost, doubled or sent to strangers", "wrong_recoveries", unit="", at_most=0),
    ]


def _storm(people: int) -> Storm:
    """Let all heartbeats go silent and recover, with the real web server, workers and a mail server."""
    fill(SILENT, teams_each=people)
    with Inbox() as inbox, web(LANE) as port, workers(EMAIL_URL=inbox.url):
        at = clock.now() + timedelta(seconds=4)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE integrations_heartbeat SET deadline_at = %s", [at])
        opened = _until(LIVE, SILENT, since=at)
        _until("SELECT count(DISTINCT alert_id) FROM escalation_notification", SILENT, since=at)
        _until(UNSENT, 0, since=at)
        inbox.wait_for_quiet(seconds=QUIET_SECONDS)
        pages = list(inbox.mails)

        started = clock.now()
        statuses = ping_each(port, heartbeats=range(1, SILENT + 1))
        answered = clock.now()
        if set(statuses) != {200}:
            raise SystemExit(f"pings were answered {dict(statuses)}")
        closed = _until(LIVE, 0, since=answered)
        _until(UNSENT, 0, since=answered)
        inbox.wait_for_quiet(seconds=QUIET_SECONDS)
        recoveries = inbox.mails[len(pages) :]
    alert_of, expected = _expected()
    paged, recovered = (
        compare(mails, expected=expected, alert_of=alert_of, carried=_carried()) for mails in (pages, recoveries)
    )
    return Storm(
        opened=opened,
        notified=paged.last_at - at.timestamp(),
        pages=len(pages),
        wrong_pages=_count_mistakes(paged),
        pinging=(answered - started).total_seconds(),
        closed=closed,
        recovery_notified=recovered.last_at - answered.timestamp(),
        recovery_mails=len(recoveries),
        wrong_recoveries=_count_mistakes(recovered),
    )


def _count_mistakes(comparison: Comparison) -> int:
    return comparison.lost + comparison.doubled + comparison.strange


def _expected() -> tuple[dict[int, int], set[tuple[str, int]]]:
    """Return each heartbeat's alert, and the expected (address, alert) pairs: all members of its teams."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT integration_id, id FROM alerting_alert")
        alerts = cursor.fetchall()
        cursor.execute(
            "SELECT method.address, alert.id FROM alerting_alert AS alert"
            " JOIN integrations_inboundintegration_recipient_groups AS named"
            "   ON named.inboundintegration_id = alert.integration_id"
            " JOIN accounts_groupmember AS member ON member.group_id = named.group_id"
            " JOIN accounts_contactmethod AS method ON method.user_id = member.user_id"
        )
        expected = set(cursor.fetchall())
    if len(alerts) != SILENT:
        raise SystemExit(f"there are {len(alerts)} alerts for {SILENT} silences")
    return dict(alerts), expected


def _carried() -> dict[str, set[int]]:
    """Return the alerts in each message according to the outbox, by message id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT message_id::text, array_agg(alert_id) FROM escalation_notification"
            " WHERE status IN ('accepted', 'delivered') GROUP BY message_id"
        )
        return {message_id: set(alerts) for message_id, alerts in cursor.fetchall()}


def _until(query: str, count: int, *, since: datetime, seconds: float = 900) -> float:
    """Return the seconds from `since` until the query returned `count`; exit if that takes more than `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute(query)
            if cursor.fetchone()[0] == count:
                return (clock.now() - since).total_seconds()
        time.sleep(0.05)
    raise SystemExit(f"not within {seconds} s: {query} = {count}")
