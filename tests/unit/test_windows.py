"""Weekly windows, delays and repeats of contact methods."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import windows
from accounts.models.contact_methods import Priority
from heartbeat_project.kernel.weekly import DAYS, NotAWindow, WeeklyWindow

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
CLOCK = st.times().map(lambda at: f"{at:%H:%M}")
AT = st.integers(-3_000 * 24 * 60, 400 * 24 * 60).map(lambda passed: MONDAY + timedelta(minutes=passed))
WINDOW = st.fixed_dictionaries(
    {
        "days": st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
        "starts": CLOCK,
        "ends": CLOCK | st.just("24:00"),
        "days_later": st.integers(0, 5),
    }
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
    loaded = [WeeklyWindow.load(window).dump() for window in stored]
    assert windows.read(windows.in_words(loaded)) == loaded


@given(st.lists(WINDOW, min_size=1, max_size=5), AT)
def test_it_is_open_when_any_of_its_windows_is(stored, at):
    each = [windows.is_open([window], at=at, time_zone="UTC") for window in stored]
    assert windows.is_open(stored, at=at, time_zone="UTC") is any(each)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("fri-mon 1:00-2:00", ["monday", "friday", "saturday", "sunday"]),
        ("Monday, Wednesday 01:00 - 02:00", ["monday", "wednesday"]),
        ("Mon \u2013 Tue 01:00\u201302:00", ["monday", "tuesday"]),
    ],
)
def test_days_are_read_as_people_write_them(text, stored):
    assert windows.read(text) == [{"days": stored, "starts": "01:00", "ends": "02:00", "days_later": 0}]


@pytest.mark.parametrize(
    "text",
    ["always", "Mon 25:00-26:00", "Mon 08:00", "Xyz 08:00-09:00", "Mon 24:30-08:00", "08:00-09:00", "Mon 24:00-08:00"],
)
def test_what_cannot_be_read_says_what_to_write(text):
    with pytest.raises(ValueError, match="Write for example"):
        windows.read(text)


@pytest.mark.parametrize(
    ("field", "stored"),
    [
        ("days", {}),
        ("days", {"days": []}),
        ("days", {"days": "monday"}),
        ("days", {"days": ["mon"], "starts": "08:00", "ends": "09:00"}),
        ("starts", {"days": ["monday"], "starts": 8, "ends": "09:00"}),
        ("starts", {"days": ["monday"], "starts": "24:00", "ends": "09:00"}),
        ("ends", {"days": ["monday"], "starts": "08:00", "ends": "24:01"}),
        ("days_later", {"days": ["monday"], "starts": "08:00", "ends": "09:00", "days_later": 7}),
        ("days_later", {"days": ["monday"], "starts": "08:00", "ends": "24:00", "days_later": 7}),
        ("days_later", {"days": ["monday"], "starts": "08:00", "ends": "09:00", "days_later": "1"}),
    ],
)
def test_what_is_no_window_is_refused_at_its_field(field, stored):
    with pytest.raises(NotAWindow) as refused:
        WeeklyWindow.load(stored)
    assert refused.value.field == field


@dataclass
class Method:
    windows: list = field(default_factory=list)
    from_priority: str = "none"
    critical_outside_windows: bool = False
    delay_minutes: float = 0
    repeat_count: int = 0
    repeat_gap_minutes: float = 5


def used(method, at, priority="high"):
    return windows.times_of_use(method, at=at, time_zone="UTC", priority=priority)


def test_a_method_is_used_after_its_delay_and_again_with_its_gap():
    method = Method(delay_minutes=2, repeat_count=2, repeat_gap_minutes=5)
    assert [(moment - MONDAY).total_seconds() / 60 for moment in used(method, MONDAY)] == [2, 7, 12]


def test_moments_outside_the_windows_are_left_out():
    method = Method(repeat_count=3, repeat_gap_minutes=30, windows=windows.read("Mon 08:00-09:00"))
    moments = used(method, MONDAY + timedelta(hours=7, minutes=30))
    assert [f"{moment:%H:%M}" for moment in moments] == ["08:00", "08:30"]
    assert used(method, MONDAY + timedelta(hours=12)) == []


def test_a_critical_alert_goes_through_a_closed_window_where_its_owner_wants_that():
    closed = windows.read("Tue 08:00-09:00")
    method = Method(windows=closed, critical_outside_windows=True)
    assert [bool(used(method, MONDAY, priority)) for priority in windows.PRIORITIES] == [False] * 4 + [True]
    assert not used(Method(windows=closed), MONDAY, "critical")


@given(st.sampled_from(windows.PRIORITIES), st.sampled_from(windows.PRIORITIES))
def test_a_method_is_used_from_its_priority_on(threshold, priority):
    is_enough = windows.PRIORITIES.index(priority) >= windows.PRIORITIES.index(threshold)
    for method in (Method(from_priority=threshold), Method(from_priority=threshold, critical_outside_windows=True)):
        assert windows.is_used(method, at=MONDAY, time_zone="UTC", priority=priority) is is_enough


def test_the_order_of_priorities_knows_all_of_them():
    assert sorted(windows.PRIORITIES) == sorted(Priority.values)


def test_the_end_of_the_day_is_written_as_24_00():
    (stored,) = windows.read("Sat 18:00-00:00")
    assert stored == {"days": ["saturday"], "starts": "18:00", "ends": "24:00", "days_later": 0}
    assert windows.in_words([stored]) == "Sat 18:00-24:00"
    assert windows.in_words(windows.read("Fri 18:00-24:00 (+2 d)")) == "Fri 18:00-24:00 (+2 d)"
    assert windows.read("Fri 18:00-08:00") == windows.read("Fri 18:00-08:00 (+1 d)")


# Berlin, 29 March 2026: 02:00 becomes 03:00; 25 October 2026: 03:00 becomes 02:00.
@pytest.mark.parametrize(
    ("text", "opens", "closes"),
    [
        ("Sun 02:15-02:45", "2026-03-29T01:00Z", None),  # a time that is passed over: no window this year
        ("Sun 02:15-03:15", "2026-03-29T01:00Z", "2026-03-29T01:15Z"),
        ("Sat 22:00-24:00", "2026-03-28T21:00Z", "2026-03-28T23:00Z"),
        ("Sun 00:00-24:00", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("Sun 02:15-02:45", "2026-10-25T00:15Z", "2026-10-25T00:45Z"),
        ("Sun 02:15-03:15", "2026-10-25T00:15Z", "2026-10-25T02:15Z"),
        ("Sun 00:00-24:00", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
    ],
)
def test_windows_on_the_days_on_which_the_clocks_change(text, opens, closes):
    second = timedelta(seconds=1)
    opens = datetime.fromisoformat(opens)
    closes = closes and datetime.fromisoformat(closes)

    def is_open(at):
        return windows.is_open(windows.read(text), at=at, time_zone="Europe/Berlin")

    assert not is_open(opens - second)
    assert is_open(opens) is (closes is not None)
    if closes:
        assert is_open(closes - second)
        assert not is_open(closes)


@given(
    WINDOW,
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo"]),
    AT,
)
def test_a_window_is_open_in_its_periods_and_only_there(stored, time_zone, at):
    window, zone = WeeklyWindow.load(stored), ZoneInfo(time_zone)
    periods = list(window.periods(at - timedelta(days=9), at + timedelta(days=9), zone))
    assert window.covers(at, zone) is any(begins <= at < ends for begins, ends in periods)
    assert all(begins.astimezone(zone).time() >= window.starts for begins, _ in periods)


@given(st.integers(0, 6), st.sampled_from(["Europe/Berlin", "America/Sao_Paulo"]), AT)
def test_until_24_00_and_from_00_00_on_leave_no_gap_and_never_overlap(day, time_zone, at):
    first = WeeklyWindow.of(days=[DAYS[day]], starts="12:00", ends="24:00")
    second = WeeklyWindow.of(days=[DAYS[(day + 1) % 7]], starts="00:00", ends="12:00")
    both = WeeklyWindow.of(days=[DAYS[day]], starts="12:00", ends="12:00", days_later=1)
    zone = ZoneInfo(time_zone)
    assert [first.covers(at, zone), second.covers(at, zone)].count(True) == both.covers(at, zone)


@pytest.mark.parametrize("text", [" " * 200_000 + "x", "mon " + " " * 200_000, "a," * 100_000, "mon 0" + "0" * 200_000])
def test_what_is_no_window_is_refused_at_once(text):
    began = time.process_time()
    with pytest.raises(ValueError, match="not a window"):
        windows.read(text)
    assert time.process_time() - began < 0.5
