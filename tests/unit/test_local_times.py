"""The times that an alert's texts say in UTC, in the time zone of their reader."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.local_times import in_readers_zone
from integrations.heartbeats.wording import silence

LAST = datetime(2026, 3, 2, 23, 0, 7, tzinfo=UTC)
DEADLINE = LAST + timedelta(hours=1)


def silence_of(name="backup", *, last=LAST, deadline=DEADLINE):
    return silence(
        name=name, interval_minutes=Decimal(60), grace_minutes=Decimal(0), last_ping_at=last and last.isoformat(),
        deadline_at=deadline.isoformat(), overdue=timedelta(0), link="https://example.org/heartbeats/1/",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("time_zone", "short", "last", "expected"),
    [
        ("Europe/Istanbul", "02:00 on 3 Mar", "Tue 3 Mar 2026, 02:00:07 UTC+03", "Tue 3 Mar 2026, 03:00:07 UTC+03"),
        ("America/New_York", "18:00 on 2 Mar", "Mon 2 Mar 2026, 18:00:07 EST", "Mon 2 Mar 2026, 19:00:07 EST"),
        ("UTC", "23:00 UTC on 2 Mar", "2026-03-02 23:00:07 UTC", "2026-03-03 00:00:07 UTC"),
        ("No/Such_Zone", "23:00 UTC on 2 Mar", "2026-03-02 23:00:07 UTC", "2026-03-03 00:00:07 UTC"),
    ],
)
def test_the_texts_of_a_silence_have_their_readers_times(time_zone, short, last, expected):
    texts = silence_of()
    short_text, long_text = (
        in_readers_zone(text, texts.facts, time_zone=time_zone) for text in (texts.short_text, texts.long_text)
    )
    assert short_text == f"backup is silent. Expected every hour, last ping {short}."
    assert long_text.startswith(f"“backup” has not pinged since {last} (expected by {expected}).\n")


def test_a_job_that_never_pinged_has_one_time():
    texts = silence_of(last=None)
    long_text = in_readers_zone(texts.long_text, texts.facts, time_zone="Asia/Tokyo")
    assert long_text.startswith("“backup” has never pinged (expected by Tue 3 Mar 2026, 09:00:07 JST).")


def test_a_time_in_the_name_of_a_heartbeat_is_not_changed():
    name = "report of 04:00 UTC on 1 Jan, 2026-01-01 04:00:00 UTC"
    texts = silence_of(name)
    for text in (texts.short_text, texts.long_text):
        assert name in in_readers_zone(text, texts.facts, time_zone="Asia/Tokyo")


def test_facts_without_a_time_change_nothing():
    facts = [{"label": "Heartbeat", "text": "backup"}]
    text = "Alert from Dana: at 23:00 UTC on 2 Mar the lift got stuck."
    assert in_readers_zone(text, facts, time_zone="Asia/Tokyo") == text


@given(st.integers(0, 6 * 365 * 86_400), st.integers(60, 10**7))
def test_no_time_of_a_silence_stays_in_utc_for_a_reader_elsewhere(later, interval):
    last = LAST + timedelta(seconds=later)
    texts = silence_of(last=last, deadline=last + timedelta(seconds=interval))
    for text in (texts.short_text, texts.long_text):
        assert "UTC" not in in_readers_zone(text, texts.facts, time_zone="Europe/Berlin")
    local = last.astimezone(ZoneInfo("Europe/Berlin"))
    short_text = in_readers_zone(texts.short_text, texts.facts, time_zone="Europe/Berlin")
    assert f"last ping {local:%H:%M} on {local.day} {local:%b}." in short_text
