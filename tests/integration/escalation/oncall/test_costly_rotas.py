"""A group with more shifts than anybody needs costs those who ask who is on call a bounded time."""

import time
from datetime import timedelta

import pytest
from django.test import Client
from icalendar import Calendar

from escalation.api import calendar_feeds
from escalation.models.on_call import Shift, ShiftPerson, ShiftWindow
from escalation.oncall.absences import MAX_ENTRIES, create_absence
from escalation.oncall.calendars.feeds import feed_of
from escalation.oncall.shifts import (
    MAX_GROUP_SHIFTS,
    MAX_GROUP_WINDOWS,
    PersonRule,
    WindowRule,
    create_shift,
    update_shift,
)
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.weekly import DAYS
from tests import factories
from tests.conftest import NOON

# Of one core, beside a suite that runs; it was 60 s and more.
SECONDS = 6.0


def crowd(group, users, *, number=101, windows=48, days=DAYS):
    """Store so many shifts of so many windows, as before there was a bound."""
    made = Shift.objects.bulk_create(
        Shift(group=group, name=f"Shift {index}", time_zone="Europe/Berlin") for index in range(number)
    )
    ShiftPerson.objects.bulk_create(
        ShiftPerson(shift=shift, user=users[index % len(users)]) for index, shift in enumerate(made)
    )
    ShiftWindow.objects.bulk_create(
        ShiftWindow(
            shift=shift,
            days=list(days),
            starts=f"{index // 2:02}:{index % 2 * 30:02}:00",
            ends=f"{index // 2:02}:{index % 2 * 30 + 29:02}:{number % 60:02}",
        )
        for number, shift in enumerate(made)
        for index in range(windows)
    )


@pytest.fixture
def people(db):
    organization = factories.OrganizationFactory()
    return [factories.UserFactory(organization=organization, name=name, roles=["App Admin"]) for name in ("Ana", "Ben")]


@pytest.fixture
def group(people):
    return factories.GroupFactory(organization=people[0].organization, primary=people)


@pytest.mark.slow
def test_the_feeds_of_a_crowded_group_cost_a_bounded_time_and_once(people, group, client, monkeypatch):
    crowd(group, people)
    monkeypatch.setattr(clock, "now", lambda: NOON)

    for feed in (feed_of(user=people[0], group=group), feed_of(user=people[0])):
        began = time.process_time()
        answer = client.get(f"/calendar/{feed.token}.ics")
        took = time.process_time() - began
        assert answer.status_code == 200
        assert took < SECONDS, took
        began = time.process_time()
        assert client.get(f"/calendar/{feed.token}.ics").content == answer.content
        assert time.process_time() - began < 0.2
        on = [event for event in Calendar.from_ical(answer.content).walk("VEVENT") if event["DTSTART"].dt <= NOON]
        assert any(event["DTEND"].dt > NOON for event in on), "the present is left out"


@pytest.mark.slow
def test_pages_about_a_crowded_group_cost_a_bounded_time(people, group, client):
    crowd(group, people[1:], number=60)
    # Who is on around the clock, by an override that wins for ever: the end of it is looked for, and is not there.
    ever = Shift.objects.create(group=group, name="For ever", is_override=True)
    ShiftPerson.objects.create(shift=ever, user=people[0])
    client.force_login(people[0])

    for address in ("/alerts/", "/on-call/", f"/groups/{group.pk}/"):
        began = time.process_time()
        assert client.get(address).status_code == 200
        took = time.process_time() - began
        assert took < SECONDS, (address, took)


def test_who_waits_for_a_calendar_holds_no_connection_and_is_sent_away(people, group, monkeypatch):
    token = feed_of(user=people[0], group=group).token
    monkeypatch.setattr(calendar_feeds, "WAIT_SECONDS", 0.05)
    asked = []
    monkeypatch.setattr(calendar_feeds, "feed_text", lambda token, **_: asked.append(token))
    with calendar_feeds._SLOTS, calendar_feeds._SLOTS:
        answer = Client().get(f"/calendar/{token}.ics")
    assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")
    assert answer["Retry-After"]
    assert asked == []
    assert Client().get(f"/calendar/{token}.ics").status_code == 404
    assert asked == [token]


def test_a_group_has_no_more_shifts_and_windows_than_can_be_looked_over(people, group):
    ana = people[0]
    crowd(group, people, number=MAX_GROUP_SHIFTS - 1, windows=2)
    rules = [WindowRule(days=["monday"], starts=f"{hour:02}:00", ends=f"{hour:02}:30") for hour in range(3)]
    mine = {"actor": ana, "now": NOON, "people": [PersonRule(user=ana.pk)]}

    with pytest.raises(FieldError, match="at most 200 windows together; this shift can have 2") as refused:
        create_shift(group, name="Three", windows=rules, **mine)
    assert refused.value.field == "windows"
    last = create_shift(group, name="Two", windows=rules[:2], **mine)
    with pytest.raises(FieldError, match="at most 100 shifts that have not ended") as refused:
        create_shift(group, name="One more", **mine)
    assert refused.value.field == "group"
    # What is there already can be changed; with more windows it cannot.
    assert update_shift(last, actor=ana, now=NOON, windows=rules[1:], name="Two others").name == "Two others"
    with pytest.raises(FieldError, match="this shift can have 2"):
        update_shift(last, actor=ana, now=NOON, windows=rules)
    # One that has ended makes room, and needs none.
    update_shift(last, actor=ana, now=NOON, ends_at=NOON - timedelta(days=1))
    create_shift(group, name="One more", **mine)
    with pytest.raises(FieldError, match="at most 100 shifts"):
        update_shift(last, actor=ana, now=NOON, ends_at=None)
    assert MAX_GROUP_WINDOWS == 2 * MAX_GROUP_SHIFTS


def test_a_person_has_no_more_absences_than_can_be_looked_over(people):
    ana, ben = people

    def away(day):
        starts_at = NOON + timedelta(days=day)
        return create_absence(
            ana, actor=ana, cover=ben, starts_at=starts_at, ends_at=starts_at + timedelta(hours=1), now=NOON
        )

    away(-5)
    for day in range(MAX_ENTRIES):
        away(day)
    with pytest.raises(FieldError, match="100 entries that have not ended"):
        away(MAX_ENTRIES)
