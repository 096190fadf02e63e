"""Whoever asks the database who is on call hears the same: the engine, REST, pages, calendars, reminders."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from icalendar import Calendar

from accounts.models import Group, GroupMember, GroupNesting
from escalation.on_call import standing_of, turns
from escalation.rota.shifts import BEGINNING, END
from escalation.services.calendars import FEED_AHEAD, MOST_DUTIES, feed_of, feed_text
from escalation.services.people import Directory
from escalation.services.reminders import remind_of_duty, set_reminder
from escalation.shift_models import DutyReminder, OutOfOffice, Shift, ShiftEntry, ShiftPerson, ShiftWindow, Weekday
from escalation.walk import Plan, Stage, Target, Track
from tests import factories
from tests.factories import WHEN
from tests.factories.rotas import DAY, GROUPS, PEOPLE, START, instants, random_rota
from tests.factories.shifts import make_absence, make_rotation, make_shift

pytestmark = pytest.mark.django_db
LINE = re.compile(r"P(\d)(?: for P(\d))? \((Primary|Secondary)(?: of G(\d))?\)")
INSTANT = timedelta(microseconds=1)


def store(rota):
    """Write a random rota down; return its users and groups by number."""
    organization = factories.OrganizationFactory()
    users = {
        number: factories.UserFactory(organization=organization, name=f"P{number}", is_active=number not in rota.gone)
        for number in PEOPLE
    }
    for number in rota.silent:
        users[number].contact_methods.all().delete()
    groups = {
        number: Group.objects.create(organization=organization, name=f"G{number}", created_at=WHEN) for number in GROUPS
    }
    for number, group in groups.items():
        for position, duty in enumerate(rota.members[number]):
            GroupMember.objects.create(group=group, user=users[duty.user], role=duty.role, position=position)
        for child in rota.within[number]:
            GroupNesting.objects.create(group=group, child=groups[child])
        for shift in rota.shifts[number]:
            store_shift(shift, group, users)
    OutOfOffice.objects.bulk_create(
        OutOfOffice(
            user=users[one.user],
            cover=users[one.cover],
            group=groups.get(one.group),
            starts_at=one.starts_at,
            ends_at=one.ends_at,
        )
        for one in rota.absences
    )
    return users, groups


def store_shift(shift, group, users):
    rotation = shift.rotation
    kind = {"kind": "fixed"}
    if shift.entries is not None:
        kind = {"kind": "calendar", "calendar_url": "https://calendar.example.com/", "calendar_due_at": END}
    if rotation is not None:
        kind = {
            "kind": "rotating",
            "rotates_every": rotation.every,
            "rotates_count": rotation.count,
            "first_handoff_on": rotation.first_on,
            "handoff_time": rotation.at,
            "people_at_once": rotation.at_once,
            "turn_number": rotation.since,
        }
    row = Shift.objects.create(
        group=group,
        name=shift.name,
        time_zone=shift.zone.key,
        starts_at=None if shift.starts_at == BEGINNING else shift.starts_at,
        ends_at=None if shift.ends_at == END else shift.ends_at,
        is_override=shift.override,
        **kind,
    )
    for position, duty in enumerate(shift.duties):
        place = rotation.order.index(duty) if rotation else 0
        ShiftPerson.objects.create(
            shift=row, user=users[duty.user], role=duty.role, position=position, turn_order=place
        )
    for window in shift.windows:
        days = [Weekday.values[day] for day in sorted(window.days)]
        ShiftWindow.objects.create(
            shift=row, days=days, starts=window.starts, ends=window.ends, days_later=window.days_later
        )
    for entry in shift.entries or ():
        (duty,) = entry.duties
        times = {"starts_at": entry.starts_at, "ends_at": entry.ends_at}
        ShiftEntry.objects.create(shift=row, user=users[duty.user], role=duty.role, **times)


def events(text):
    return [
        (str(event["SUMMARY"]), event["DTSTART"].dt, event["DTEND"].dt)
        for event in Calendar.from_ical(text).walk("VEVENT")
    ]


@pytest.mark.parametrize("seed", range(0, 1_000, 80))
def test_all_that_ask_the_database_agree_with_the_rules_read_one_by_one(seed):
    rota = random_rota(seed)
    users, groups = store(rota)
    number_of = {user.pk: number for number, user in users.items()}
    group_of = {group.pk: number for number, group in groups.items()}
    for user in users.values():
        set_reminder(user, hours=Decimal(48))
    feeds = {number: events(feed_text(feed_of(group=group).token, now=START)) for number, group in groups.items()}
    own = {
        number: events(feed_text(feed_of(user=user).token, now=START))
        for number, user in users.items()
        if user.is_active
    }
    mine = turns(number_of, starts_at=START, ends_at=START + 10 * DAY)
    for at in instants(seed, count=3):
        for number, group in groups.items():
            case = (seed, number, at)
            expected = rota.everybody(number, at)
            managers = {(inner, *one) for inner in rota.groups(number) for one in rota.managers(inner, at)}
            standing = standing_of(group, at=at)
            shown = {
                (group_of[one.group.pk], number_of[one.user.pk], one.role, number_of[one.notified.pk])
                for one in standing.people
            }
            assert shown == expected | managers, case
            if standing.until is not None and standing.until < START + 20 * DAY:
                before = rota.everybody(number, standing.until - INSTANT)
                assert before == expected, case
                following = {number_of[user.pk] for user in standing.notified_next}
                assert following == {one[3] for one in rota.everybody(number, standing.until)}, case
            targets = {role: Target("group", group.pk, role) for role in ("primary", "secondary", "manager", None)}
            plan = Plan((Track((Stage("All", tuple(targets.values())),)),))
            directory = Directory.of([plan], now=at)
            for role, target in targets.items():
                found = {number_of[person] for person in directory.people(target)} - rota.gone
                assert found == {one[3] for one in expected | managers if role in {None, one[2]}}, (*case, role)
            read = set()
            for summary, begins, ends in feeds[number]:
                if begins <= at < ends:
                    for person, covering, role, inner in LINE.findall(summary):
                        read.add((int(inner or number), int(covering or person), role.lower(), int(person)))
            assert read == expected, case
            in_turn = {
                (group_of[turn.group.pk], number_of[(turn.covering or users[who]).pk], turn.role, who)
                for who in PEOPLE
                for turn in mine[users[who].pk]
                if turn.starts_at <= at < turn.ends_at and group_of[turn.group.pk] in rota.groups(number)
            }
            assert in_turn == expected, case
        for who, lines in own.items():
            read = {summary for summary, begins, ends in lines if begins <= at < ends}
            assert read == {
                f"On call: G{group} ({role.title()}){'' if duty == who else f' for P{duty}'}"
                for group in GROUPS
                for duty, role, person in rota.on_call(group, at)
                if person == who
            }, (seed, who, at)
    remind_of_duty(now=START)
    for reminder in DutyReminder.objects.all():
        at, who = reminder.starts_at, number_of[reminder.user_id]
        assert START < at <= START + 2 * DAY
        beginning, before = (rota.on_call(group_of[reminder.group_id], when) for when in (at, at - INSTANT))
        assert any(one[1] == reminder.role and one[2] == who for one in beginning), (seed, at)
    expected = {
        (who, group_of[turn.group.pk], turn.role, turn.starts_at)
        for who, user in users.items()
        for turn in mine[user.pk]
        if START < turn.starts_at <= START + 2 * DAY and user.contact_methods.exists() and user.is_active
    }
    found = {
        (number_of[one.user_id], group_of[one.group_id], one.role, one.starts_at) for one in DutyReminder.objects.all()
    }
    assert {one for one in found if users[one[0]].contact_methods.exists()} == expected, seed


# -- feeds --------------------------------------------------------------------------------------------------------------
def test_a_groups_feed_shows_covers_and_the_groups_within_it_for_a_year():
    organization = factories.OrganizationFactory()
    ana, ben, cem = (factories.UserFactory(organization=organization, name=name) for name in ("Ana", "Ben", "Cem"))
    inner = factories.GroupFactory(organization=organization, name="Databases", primary=[ana, ben])
    outer = factories.GroupFactory(organization=organization, name="Operations")
    outer.nestings.create(child=inner)
    make_rotation(inner, primary=[ana, ben], first="2026-03-02")
    make_shift(outer, primary=[], kind="calendar", calendar_url="https://calendar.example.com/")
    make_absence(ana, cem, starts_at=WHEN, ends_at=WHEN + DAY)
    found = events(feed_text(feed_of(group=outer).token, now=WHEN))
    assert ("Cem for Ana (Primary of Databases)", WHEN, WHEN + DAY) in found
    assert max(ends for _, _, ends in found) == WHEN + FEED_AHEAD
    assert timedelta(days=365) == FEED_AHEAD
    assert {said for said, *_ in found} == {
        "Ana (Primary of Databases)",
        "Ben (Primary of Databases)",
        "Cem for Ana (Primary of Databases)",
    }


def test_a_feed_is_bounded_however_many_duties_there_are(monkeypatch):
    from escalation.services import calendars

    monkeypatch.setattr(calendars, "MOST_DUTIES", 10)
    assert MOST_DUTIES <= 5_000
    organization = factories.OrganizationFactory()
    people = [factories.UserFactory(organization=organization) for _ in range(2)]
    group = factories.GroupFactory(organization=organization, primary=people)
    make_rotation(group, primary=people, rotates_every="day", first="2026-03-02")
    for feed in (feed_of(group=group), feed_of(user=people[0])):
        found = events(feed_text(feed.token, now=WHEN))
        assert len(found) == 10
        assert found[-1][1] < WHEN + 30 * DAY
