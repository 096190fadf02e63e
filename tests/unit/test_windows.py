"""Weekly windows, delays and repeats of contact methods."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import windows

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
CLOCK = st.times().map(lambda at: f"{at:%H:%M}")
WINDOW = st.fixed_dictionaries(
    {"days": st.lists(st.sampled_from(windows.DAYS), min_size=1, unique=True), "from": CLOCK, "to": CLOCK}
)


def open_at(text, *, day, clock, time_zone="UTC"):
    hour, minute = clock.split(":")
    at = MONDAY + timedelta(days=day, hours=int(hour), minutes=int(minute))
    return windows.is_open(windows.read(text), at=at, time_zone=time_zone)


def test_without_windows_it_is_always_open():
    assert open_at("", day=6, clock="03:00")


def test_a_window_is_half_open():
    for clock, expected in {"07:59": False, "08:00": True, "17:59": True, "18:00": False}.items():
        assert open_at("Mon-Fri 08:00-18:00", day=0, clock=clock) is expected
    assert not open_at("Mon-Fri 08:00-18:00", day=5, clock="12:00")


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins():
    text = "Fri 22:00-06:00"
    assert [open_at(text, day=4, clock=clock) for clock in ("05:59", "21:59", "22:00")] == [False, False, True]
    assert [open_at(text, day=5, clock=clock) for clock in ("05:59", "06:00", "22:00")] == [True, False, False]


def test_sunday_night_goes_on_to_monday():
    assert open_at("Sun 22:00-06:00", day=7, clock="01:00")


def test_a_window_that_ends_when_it_begins_is_a_whole_day():
    assert open_at("Sat 00:00-24:00", day=5, clock="23:59")
    assert not open_at("Sat 00:00-24:00", day=6, clock="00:00")
    assert open_at("Sat 09:00-09:00", day=6, clock="08:59")


def test_the_persons_own_time_counts_also_when_the_clocks_change():
    assert open_at("Mon 08:00-09:00", day=0, clock="07:30", time_zone="Europe/Berlin")
    assert open_at("Mon 08:00-09:00", day=28, clock="06:30", time_zone="Europe/Berlin")  # summer time since 29 March
    assert not open_at("Mon 08:00-09:00", day=28, clock="07:30", time_zone="Europe/Berlin")
    assert open_at("Mon 08:00-09:00", day=0, clock="08:30", time_zone="Nowhere/Town")


@given(st.lists(WINDOW, max_size=5))
def test_what_is_written_out_is_read_back(stored):
    loaded = [windows.Window.load(window).dump() for window in stored]
    assert windows.read(windows.in_words(loaded)) == loaded


@given(st.lists(WINDOW, min_size=1, max_size=5), st.datetimes(timezones=st.just(UTC)))
def test_it_is_open_when_any_of_its_windows_is(stored, at):
    each = [windows.is_open([window], at=at, time_zone="UTC") for window in stored]
    assert windows.is_open(stored, at=at, time_zone="UTC") is any(each)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("fri-mon 1:00-2:00", ["mon", "fri", "sat", "sun"]),
        ("Monday, Wednesday 01:00 - 02:00", ["mon", "wed"]),
        ("Mon \u2013 Tue 01:00\u201302:00", ["mon", "tue"]),
    ],
)
def test_days_are_read_as_people_write_them(text, stored):
    assert windows.read(text) == [{"days": stored, "from": "01:00", "to": "02:00"}]


@pytest.mark.parametrize(
    "text", ["always", "Mon 25:00-26:00", "Mon 08:00", "Xyz 08:00-09:00", "Mon 24:30-08:00", "08:00-09:00"]
)
def test_what_cannot_be_read_says_what_to_write(text):
    with pytest.raises(ValueError, match="Write for example"):
        windows.read(text)


@pytest.mark.parametrize(
    "stored", [{}, {"days": []}, {"days": "mon"}, {"days": ["noday"]}, {"days": ["mon"], "from": 8, "to": "09:00"}]
)
def test_what_is_no_window_is_refused(stored):
    with pytest.raises(ValueError):
        windows.Window.load(stored)


def test_a_method_is_used_after_its_delay_and_again_with_its_gap():
    moments = windows.times_of_use(at=MONDAY, time_zone="UTC", delay_minutes=2, repeat_count=2, repeat_gap_minutes=5)
    assert [(moment - MONDAY).total_seconds() / 60 for moment in moments] == [2, 7, 12]


def test_moments_outside_the_windows_are_left_out():
    options = {
        "time_zone": "UTC",
        "repeat_count": 3,
        "repeat_gap_minutes": 30,
        "windows": windows.read("Mon 08:00-09:00"),
    }
    moments = windows.times_of_use(at=MONDAY + timedelta(hours=7, minutes=30), **options)
    assert [f"{moment:%H:%M}" for moment in moments] == ["08:00", "08:30"]
    assert windows.times_of_use(at=MONDAY + timedelta(hours=12), **options) == []
