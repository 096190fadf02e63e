"""Calendars that hold more than anybody needs: what is kept, read and looked at is bounded, and what is not is said."""

import re
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models.groups import GroupMember
from escalation.models.on_call import Shift, ShiftEntry
from escalation.notifications.notices.on_call_reminders import remind_before_shifts, set_reminder
from escalation.oncall import absences, shifts
from escalation.oncall.calendars import names
from escalation.oncall.calendars import read as read_module
from escalation.oncall.calendars.feeds import feed_of
from escalation.oncall.calendars.read import MAX_OF_GROUP, read_calendar
from escalation.oncall.calendars.text import CalendarReading, Occurrence
from escalation.oncall.rota.who_is_on_call import end_of
from escalation.oncall.rotas import group_rotas
from escalation.oncall.selectors import on_call_periods, on_call_periods_of
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError
from tests import factories
from tests.factories.full_rotas import fill
from tests.factories.shifts import make_absence, make_shift

pytestmark = pytest.mark.django_db
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SHIFTS = 100
SECONDS = 4.0  # of one core


@pytest.fixture
def ana():
    return factories.UserFactory(name="Ana", email="ana@example.com", roles=["App Admin"])


@pytest.fixture
def group(ana):
    return factories.GroupFactory(organization=ana.organization, primary=[ana])


@pytest.fixture
def shift(group):
    return make_shift(group, kind="calendar", calendar_url="https://example.com/x.ics", name="Calendar")


@pytest.fixture
def says(monkeypatch):
    """Return how calendars come to say that Ana is on call at these times, in hours from now."""

    def say(now, *hours, summary="Ana"):
        found = tuple(Occurrence(now + begins * HOUR, now + ends * HOUR, summary) for begins, ends in hours)
        monkeypatch.setattr(read_module, "fetch", lambda *_, **__: b"")
        monkeypatch.setattr(read_module, "read", lambda *_, **__: CalendarReading(found))

    return say


def entries(shift):
    return ShiftEntry.objects.filter(shift=shift).count()


def error(shift):
    return Shift.objects.get(pk=shift.pk).calendar_error


def test_the_turns_of_a_group_are_bounded_with_some_room_for_each_calendar(shift, group, says, now, monkeypatch):
    monkeypatch.setattr(read_module, "MAX_OF_GROUP", 8)
    monkeypatch.setattr(read_module, "ALWAYS_IN_GROUP", 2)
    says(now, *((hour, hour + 1) for hour in range(6)))
    assert read_calendar(shift, now=now)
    others = [make_shift(group, kind="calendar", calendar_url="https://example.com/y", name=str(n)) for n in range(2)]
    assert [read_calendar(other, now=now) and entries(other) for other in others] == [2, 2]
    day = f"{now + 2 * HOUR:%Y-%m-%d}"
    assert error(others[0]) == (
        "The calendars of this group or organization have too many events: there is room for 2 of this one, "
        f"and those from {day} on are left out for now."
    )
    assert read_calendar(shift, now=now)
    assert (entries(shift), error(shift)[:13]) == (4, "The calendars")


def test_the_turns_of_an_organization_are_bounded(shift, group, says, now, monkeypatch):
    monkeypatch.setattr(read_module, "MAX_ORGANIZATION_PERIODS", 5)
    monkeypatch.setattr(read_module, "ALWAYS_IN_ORGANIZATION", 1)
    says(now, *((hour, hour + 1) for hour in range(6)))
    inner = factories.GroupFactory(organization=group.organization, primary=[group.members.get().user])
    other = make_shift(inner, kind="calendar", calendar_url="https://example.com/y", name="Other")
    stranger = factories.GroupFactory(primary=[factories.UserFactory(name="Ana")])
    theirs = make_shift(stranger, kind="calendar", calendar_url="https://example.com/z", name="Theirs")
    assert all(read_calendar(one, now=now) for one in (shift, other, theirs))
    assert [entries(one) for one in (shift, other, theirs)] == [5, 1, 5]


def test_what_has_ended_takes_no_room_from_who_is_on_call_now(shift, says, now, monkeypatch):
    """The day behind us alone may fill the room that a calendar has."""
    monkeypatch.setattr(read_module, "MAX_ORGANIZATION_PERIODS", 0)
    monkeypatch.setattr(read_module, "ALWAYS_IN_ORGANIZATION", 3)
    says(now, (-9, -8), (-8, -7), (-7, 0), (-1, 1), (1, 2))
    assert read_calendar(shift, now=now)
    kept = ShiftEntry.objects.filter(shift=shift).values_list("starts_at", flat=True)
    assert [(at - now) // HOUR for at in kept] == [-7, -1, 1]
    assert error(shift) == "", "nothing that anybody needs is left out"


def test_so_many_are_on_at_once_by_one_calendar_and_no_more(shift, says, now, monkeypatch):
    monkeypatch.setattr(read_module, "MAX_AT_ONCE", 2)
    says(now, (0, 9), (1, 9), (2, 4), (9, 10), (9, 11), (9, 12))
    assert read_calendar(shift, now=now)
    kept = ShiftEntry.objects.filter(shift=shift).values_list("starts_at", flat=True)
    assert [(at - now) // HOUR for at in kept] == [0, 1, 9, 9]
    assert error(shift) == "More than 2 events at the same time: 2 are left out."


def test_who_is_left_out_of_an_event_that_names_too_many_is_said(shift, says, now, monkeypatch):
    monkeypatch.setattr(read_module, "MAX_AT_ONCE", 2)
    for name in ("Ben", "Cy", "Dee"):
        person = factories.UserFactory(organization=shift.group.organization, name=name)
        GroupMember.objects.create(group=shift.group, user=person, role="primary")
    says(now, (0, 9), summary="Ana, Ben, Cy and Dee")
    assert read_calendar(shift, now=now)
    assert entries(shift) == 2
    assert error(shift).startswith("More than 2 events at the same time:")


def test_names_are_not_looked_for_without_an_end(shift, now, monkeypatch):
    """As many words as fit into a calendar, each the beginning of a name: it took 20 s of the worker's only core."""
    for number in range(1, 9):
        person = factories.UserFactory(organization=shift.group.organization, name=" ".join("a" * number))
        GroupMember.objects.create(group=shift.group, user=person, role="primary")
    words = " ".join("a" * 200)
    found = tuple(Occurrence(now + n * HOUR, now + (n + 1) * HOUR, f"{n} {words}, a b, a b, a b") for n in range(4_500))
    monkeypatch.setattr(read_module, "fetch", lambda *_, **__: b"")
    monkeypatch.setattr(read_module, "read", lambda *_, **__: CalendarReading(found))
    began = time.thread_time()
    assert read_calendar(shift, now=now)
    assert time.thread_time() - began < SECONDS
    assert "are not read: the calendar has too many before them." in error(shift)


def test_the_same_words_are_matched_once(shift, says, now, monkeypatch):
    matched = []
    find = names.Members.find

    def counted(members, words, **more):
        matched.append(words)
        return find(members, words, **more)

    monkeypatch.setattr(names.Members, "find", counted)
    says(now, *((hour, hour + 1) for hour in range(50)))
    assert read_calendar(shift, now=now)
    assert (entries(shift), matched) == (50, ["Ana"])


def sql(text):
    with connection.cursor() as cursor:
        cursor.execute(text)


def test_pages_feeds_and_ticks_over_full_calendars_cost_a_bounded_time(shift, group, ana, client):
    fill(shift.pk, [ana.pk], shifts=SHIFTS, turns=MAX_OF_GROUP // SHIFTS, sql=sql)
    client.force_login(ana)
    feeds = [feed_of(user=ana, group=group), feed_of(user=ana)]
    for path in (
        "/alerts/",
        "/on-call/",
        f"/groups/{group.pk}/",
        "/api/v1/users/me/on-call/",
        f"/api/v1/groups/{group.pk}/on-call/",
        *(f"/calendar/{feed.token}.ics" for feed in feeds),
    ):
        began = time.thread_time()
        assert client.get(path).status_code == 200, path
        took = time.thread_time() - began
        assert took < SECONDS, (path, took)


def test_what_is_shown_of_a_few_days_reads_no_more_of_a_calendar(shift, group, ana, now):
    for day in range(100):
        ShiftEntry.objects.create(shift=shift, user=ana, starts_at=now + day * DAY, ends_at=now + day * DAY + HOUR)
    read = group_rotas([group.pk], starts_at=now, ends_at=now + 3 * DAY)[group.pk]
    assert [len(one.entries) for one in read.shifts if one.entries is not None] == [3]
    assert len(on_call_periods([ana.pk], starts_at=now, ends_at=now + 3 * DAY, near=now)[ana.pk]) == 3
    ShiftEntry.objects.create(shift=shift, user=ana, starts_at=now + HOUR, ends_at=now + 2 * HOUR)
    (period,) = on_call_periods_of(ana, starts_at=now, ends_at=now + HOUR / 2)
    assert period.until == now + 2 * HOUR, "it goes on behind what is shown"


def test_of_thousands_of_turns_those_of_now_are_found_by_an_index(shift, group, ana):
    fill(shift.pk, [ana.pk], shifts=SHIFTS, turns=50, sql=sql)
    sql("ANALYZE escalation_shiftentry")
    with CaptureQueriesContext(connection) as queries:
        group_rotas([group.pk], starts_at=clock.now())
    [asked] = [query["sql"] for query in queries if 'FROM "escalation_shiftentry"' in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # of so few rows the planner may read all
        cursor.execute(f"EXPLAIN {asked}")
        found = "\n".join(line for (line,) in cursor.fetchall())
    assert "entry_by_time" in found
    assert re.search(r"Index Cond: .*starts_at", found), found


def test_reminders_read_the_rotas_a_few_times_whatever_people_wish(group, ana, now):
    for number in range(12):
        person = factories.UserFactory(organization=ana.organization)
        GroupMember.objects.create(group=group, user=person, role="primary")
        set_reminder(person, hours=number + 1)
    make_shift(group, primary=[ana])
    with CaptureQueriesContext(connection) as queries:
        remind_before_shifts(now=now)
    assert len(queries) < 45


def test_one_organization_with_too_much_shortens_no_outlook_of_another(shift, group, ana, now):
    """Its own is cut: what is far away is looked at when it is nearer."""
    other = factories.UserFactory(name="Ben")
    there = factories.GroupFactory(organization=other.organization, primary=[other])
    theirs = make_shift(there, kind="calendar", calendar_url="https://example.com/x", name="Theirs")
    for day in range(10):
        for hour in range(4):
            at = now + day * DAY + hour * HOUR
            ShiftEntry.objects.create(shift=shift, user=ana, starts_at=at, ends_at=at + HOUR / 2)
    ShiftEntry.objects.create(shift=theirs, user=other, starts_at=now + 9 * DAY, ends_at=now + 9 * DAY + HOUR)
    found = on_call_periods([ana.pk, other.pk], starts_at=now, ends_at=now + 10 * DAY, near=now, most=40)
    by_calendar = {pk: [period for period in mine if period.shift.id] for pk, mine in found.items()}
    assert [period.starts_at for period in by_calendar[other.pk]] == [now + 9 * DAY]
    assert 0 < len(by_calendar[ana.pk]) < 40


def test_what_begins_one_after_the_other_is_looked_at_once(shift, group, ana):
    """The end of an on-call shift behind many entries: each was a look at all of them."""
    fill(shift.pk, [ana.pk], shifts=SHIFTS, turns=50, sql=sql)
    now = clock.now()
    group_rota = group_rotas([group.pk], starts_at=now, ends_at=now + DAY, later=True)[group.pk]
    began = time.thread_time()
    assert end_of(lambda _: True, group_rota.shifts, now, reach=group_rota.reach) is None
    assert time.thread_time() - began < SECONDS


def test_the_absences_and_shifts_of_an_organization_are_bounded(group, ana, now, monkeypatch):
    monkeypatch.setattr(absences, "MAX_ORGANIZATION_ENTRIES", 1)
    monkeypatch.setattr(shifts, "MAX_ORGANIZATION_SHIFTS", 1)
    ben, cy = (factories.UserFactory(organization=ana.organization) for _ in "bc")
    make_absence(ben, cy, starts_at=now, ends_at=now + DAY)
    with pytest.raises(FieldError, match="Your organization has 1 entries"):
        absences.create_absence(cy, actor=ana, cover=ana, starts_at=now, ends_at=now + DAY, now=now)
    inner = factories.GroupFactory(organization=ana.organization, primary=[ana])
    make_shift(inner, primary=[ana])
    with pytest.raises(FieldError, match="An organization has at most 1 shifts"):
        shifts.create_shift(group, actor=ana, now=now, name="Two", people=[shifts.PersonRule(user=ana.pk)])
