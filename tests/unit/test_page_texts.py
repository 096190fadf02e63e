"""Filters and tags that make sentences of the pages."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils import timezone

from accounts.admin.base import time_field
from alerting.models.alerts import Alert
from heartbeat_project.templatetags.look import ended, in_readers_zone, with_alert_link

NOW = datetime(2026, 11, 25, 16, 30, tzinfo=UTC)


def test_a_logs_times_are_the_readers():
    line = "Alert 5 opened: no ping by 2026-11-25 16:17:40 UTC."
    with timezone.override(ZoneInfo("Europe/Istanbul")):
        assert in_readers_zone(line) == "Alert 5 opened: no ping by 2026-11-25 19:17:40."
        assert in_readers_zone("Due 2026-13-45 99:00:00 UTC <b>") == "Due 2026-13-45 99:00:00 UTC <b>"
        assert with_alert_link(in_readers_zone(line)).startswith('<a href="/alerts/5/">Alert 5</a> opened')


def test_the_end_of_an_alert_says_how_and_after_how_long():
    alert = Alert(status="closed", opened_at=NOW - timedelta(minutes=9), closed_at=NOW, close_reason="fixed <b>")
    assert ended(alert, NOW).startswith("Closed after 9 minutes, <time ")
    assert ended(alert, NOW).endswith("</time>: fixed &lt;b&gt;")
    alert.close_reason = "closed by heartbeat"
    assert ended(alert, NOW).startswith("Closed by its heartbeat after 9 minutes, <time ")
    alert.status, alert.close_reason = "cancelled", ""
    assert ended(alert, NOW).startswith("Cancelled after 9 minutes, ")
    assert ended(alert, NOW).endswith("</time>")


def test_a_field_for_a_time_names_the_readers_zone():
    field = time_field("Until", more_help=" Empty: it goes on.")
    for name in ("Europe/Rome", "America/New_York"):
        with timezone.override(ZoneInfo(name)):
            assert str(field.help_text) == f"{name.replace('_', ' ')}, your time zone. Empty: it goes on."
