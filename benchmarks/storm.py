"""Ten thousand heartbeats go silent in the same second, and come back in the same second."""

import time
from datetime import timedelta
from typing import Any

from aiosmtpd.controller import Controller
from django.db import connection

from benchmarks.fill import fill
from benchmarks.harness import save, web
from benchmarks.pings import LANE
from benchmarks.workers import workers
from heartbeat_project.kernel import clock

SILENT = 10_000


class Inbox:
    """Counts the messages a real SMTP server is given."""

    def __init__(self) -> None:
        self.messages = 0

    async def handle_DATA(self, *_: Any) -> str:  # noqa: N802 - the name aiosmtpd looks for
        """Take a message."""
        self.messages += 1
        return "250 taken"


def storm() -> list[dict[str, Any]]:
    """Measure until all alerts are open, and until everybody's notifications are accepted."""
    fill(SILENT)
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=0)
    controller.port = _free_port()
    controller.start()
    try:
        with web(LANE), workers(EMAIL_URL=f"smtp://127.0.0.1:{controller.port}"):
            at = clock.now() + timedelta(seconds=4)
            with connection.cursor() as cursor:
                cursor.execute("UPDATE integrations_heartbeat SET deadline_at = %s", [at])
            opened = _until("SELECT count(*) FROM alerting_alert", at=at)
            told = _until("SELECT count(*) FROM escalation_notification WHERE status = 'accepted'", at=at)
    finally:
        controller.stop()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT (alert_id, user_id)) FROM escalation_notification")
        written, distinct = cursor.fetchone()
    if written != SILENT or distinct != SILENT:
        raise SystemExit(f"{written} notifications for {SILENT} alerts")
    rows = [_row("all 10,000 alerts open", opened, 2.0), _row("everybody told of all 10,000", told, 10.0)]
    save("storm", rows, messages=inbox.messages)
    return rows


def _row(what: str, seconds: float, most: float) -> dict[str, Any]:
    return {
        "what": f"seconds after the deadline: {what}",
        "measured": seconds,
        "reference": most,
        "ratio": seconds / most,
        "must": f"at most {most:g} s",
        "reached": seconds <= most,
    }


def _until(query: str, *, at: Any, most: float = 120) -> float:
    """Return how many seconds after `at` the count reached all."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute(query)
            if cursor.fetchone()[0] >= SILENT:
                return (clock.now() - at).total_seconds()
        time.sleep(0.05)
    raise SystemExit(f"not within {most} s: {query}")


def _free_port() -> int:
    import socket  # noqa: PLC0415 - used once

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
