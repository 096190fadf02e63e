"""Deadlines and durations."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from heartbeat_project.kernel.durations import exactly, in_words, minutes
from integrations.heartbeats.timing import deadline
from integrations.heartbeats.wording import SHORT_TEXT_LENGTH, silence

T = datetime(2026, 3, 2, 12, tzinfo=UTC)
tenths = st.integers(0, 446_400).map(lambda n: Decimal(n) / 10)


def test_one_decimal_place_counts_as_six_seconds():
    assert minutes(Decimal("0.1")) == timedelta(seconds=6)


@given(tenths, tenths)
def test_a_deadline_is_start_plus_interval_plus_grace_to_the_second(interval, grace):
    found = deadline(T, interval_minutes=interval, grace_minutes=grace)
    assert found == T + timedelta(seconds=int((interval + grace) * 60))


def test_durations_read_as_people_say_them():
    said = {
        0: "0 seconds", 1: "1 second", 59: "59 seconds", 60: "1 minute", 61: "1 minute 1 second", 3600: "1 hour",
        3_661: "1 hour 1 minute", 3_601: "1 hour", 86_400: "1 day", 90_061: "1 day 1 hour", 2_678_400: "31 days",
    }  # fmt: skip
    assert {seconds: in_words(timedelta(seconds=seconds)) for seconds in said} == said


def test_values_that_somebody_set_are_said_exactly():
    said = {
        "1441": "1 day 1 minute", "44639.9": "30 days 23 hours 59 minutes 54 seconds", "0.1": "6 seconds",
        "60": "1 hour", "44640": "31 days", "0": "0 seconds", "1500": "1 day 1 hour",
    }  # fmt: skip
    assert {value: exactly(minutes(Decimal(value))) for value in said} == said


@given(
    st.text(min_size=1, max_size=200),
    st.integers(1, 446_400).map(lambda n: Decimal(n) / 10),
    st.none() | st.just(T),
    st.integers(0, 10**7),
)
def test_a_silence_names_itself_everywhere_and_its_short_text_fits_one_sms(name, interval, last_ping_at, late):
    said = silence(
        name=name, interval_minutes=interval, grace_minutes=Decimal(0), last_ping_at=last_ping_at and last_ping_at.isoformat(),
        deadline_at=T.isoformat(), overdue=timedelta(seconds=late), link="https://example.org/heartbeats/1/",
    )  # fmt: skip
    assert name in said.subject
    assert name in said.long_text
    assert "Heartbeat: https://example.org/heartbeats/1/" in said.long_text
    assert said.short_text.startswith(name[:59])
    assert len(said.short_text) <= SHORT_TEXT_LENGTH + 60


def test_a_job_that_never_pinged_is_said_to_have_never_pinged():
    said = silence(
        name="report", interval_minutes=Decimal(60), grace_minutes=Decimal(0), last_ping_at=None,
        deadline_at=T.isoformat(), overdue=timedelta(0), link="https://example.org/heartbeats/1/",
    )  # fmt: skip
    assert said.short_text == "report is silent. Expected every hour; it has never pinged."
    assert said.long_text.startswith("“report” has never pinged (expected by ")
