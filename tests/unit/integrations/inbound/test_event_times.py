"""The times of senders, in the forms in which they write them."""

from datetime import UTC, datetime

import pytest

from integrations.inbound.event_times import parse_time

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
EIGHT = datetime(2026, 11, 20, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T08:00:00Z",
        "2026-11-20T08:00:00.000000000Z",
        "2026-11-20t08:00:00z",
        "2026-11-20T10:00:00+02:00",
        "2026-11-20T08:00:00.000+0000",
        "2026-11-20 08:00:00",
        "2026-11-20 08:00:00 UTC",
        "2026-11-20 08:00:00 +0000 UTC",
        "2026.11.20 08:00:00",
        "1795161600",
        "1795161600.0",
        "1795161600000",
        "1795161600000000",
    ],
)
def test_the_usual_forms_are_read(text):
    assert parse_time(text, now=NOW) == EIGHT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0001-01-01T00:00:00Z",
        "0",
        "1",
        "UTC",
        "soon",
        "2026-13-01",
        "9" * 50,
        "-1",
        "\N{FULLWIDTH DIGIT ONE}795161600",
    ],
)
def test_anything_else_is_no_time(text):
    assert parse_time(text, now=NOW) is None


def test_a_time_that_has_not_come_is_now():
    assert parse_time("2031-01-01T00:00:00Z", now=NOW) == NOW
