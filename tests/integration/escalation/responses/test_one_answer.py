"""Whoever asks the database who is on call hears the same: the engine, REST, pages, calendars, reminders."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from icalendar import Calendar

from accounts.models.groups import Group, GroupMember, GroupNesting
from escalation.engine.plan import Plan, Stage, Target, Track
from escalation.engine.recipients import RecipientDirectory
from escalation.models.on_call import OnCallReminder, OutOfOffice, Shift, ShiftEntry, ShiftPerson, ShiftWindow, Weekday
from escalation.notifications.notices.on_call_reminders import remind_before_shifts, set_reminder
from escalation.oncall.calendars.feeds import FEED_AHEAD, MAX_FEED_EVENTS, feed_of, feed_text
from escalation.oncall.rota.shifts import BEGINNING, END
from escalation.oncall.selectors import on_call_periods, on_call_status_of
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
        for position, role_holder in enumerate(rota.members[number]):
            GroupMember.objects.create(
                group=group, user=users[role_holder.user], role=role_holder.role, position=position
            )
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
    kind: dict[str, object] = {"kind": "fixed"}
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
    for position, role_holder in enumerate(shift.role_holders):
        turn_order = rotation.order.index(role_holder) if rotation else 0
        ShiftPerson.objects.create(
            shift=row, user=users[role_holder.user], role=role_holder.role, position=position, turn_order=turn_order
        )
    for window in shift.windows:
        days = [Weekday.values[day] for day in sorted(window.days)]
        ShiftWindow.objects.create(
            shift=row, days=days, starts=window.starts, ends=window.ends, days_later=window.days_later
        )
    for entry in shift.entries or ():
        (role_holder,) = entry.role_holders
        times = {"starts_at": entry.starts_at, "ends_at": entry.ends_at}
        ShiftEntry.objects.create(shift=row, user=users[role_holder.user], role=role_holder.role, **times)


def events(text):
    return [
        (str(event["SUMMARY"]), event["DTSTART"].dt, event["DTEND"].dt)
        for event in Calendar.from_ical(text).walk("VEVENT")
    ]


def group_feed(group, *, now):
    reader = factories.UserFactory(organization=group.organization, roles=["App Admin"])
    return feed_text(feed_of(user=reader, group=group).token, now=now)


@pytest.mark.parametrize("seed", range(0, 1_000, 80))
def test_all_that_ask_the_database_agree_with_the_rules_read_one_by_one(seed):
    rota = random_rota(seed)
    users, groups = store(rota)
    number_of = {user.pk: number for number, user in users.items()}
    group_of = {group.pk: number for number, group in groups.items()}
    for user in users.values():
        set_reminder(user, hours=Decimal(48))
    feeds = {number: events(group_feed(group, now=START)) for number, group in groups.items()}
    own = {
        number: events(feed_text(feed_of(user=user).token, now=START))
        for number, user in users.items()
        if user.is_active
    }
    mine = on_call_periods(number_of, starts_at=START, ends_at=START + 10 * DAY, near=START)
    for at in instants(seed, count=3):
        for number, group in groups.items():
            case = (seed, number, at)
            expected = rota.everybody(number, at)
            managers = {(inner, *one) for inner in rota.groups(number) for one in rota.managers(inner, at)}
            status = on_call_status_of(group, at=at)
            people = {
                (group_of[one.group.pk], number_of[one.user.pk], one.role, number_of[one.notified.pk])
                for one in status.people
            }
            assert people == expected | managers, case
            if status.until is not None and status.until < START + 20 * DAY:
                before = rota.everybody(number, status.until - INSTANT)
                assert before == expected, case
                following = {number_of[user.pk] for user in status.notified_next}
                assert following == {one[3] for one in rota.everybody(number, status.until)}, case
            targets = {role: Target("group", group.pk, role) for role in ("primary", "secondary", "manager", None)}
            plan = Plan((Track((Stage("All", tuple(targets.values())),)),))
            directory = RecipientDirectory.of([plan], now=at)
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
                (group_of[period.group.pk], number_of[(period.covering or users[who]).pk], period.role, who)
                for who in PEOPLE
                for period in mine[users[who].pk]
                if period.starts_at <= at < period.ends_at and group_of[period.group.pk] in rota.groups(number)
            }
            assert in_turn == expected, case
        for who, lines in own.items():
            said = {summary for summary, begins, ends in lines if begins <= at < ends}
            assert said == {
                f"On call: G{group} ({role.title()}){'' if role_holder == who else f' for P{role_holder}'}"
                for group in GROUPS
                for role_holder, role, person in rota.on_call(group, at)
                if person == who
            }, (seed, who, at)
    remind_before_shifts(now=START)
    for reminder in OnCallReminder.objects.all():
        at, who = reminder.starts_at, number_of[reminder.user_id]
        assert START < at <= START + 2 * DAY
        beginning = rota.on_call(group_of[reminder.group_id], at)
        assert any(one[1:] == (reminder.role, who) for one in beginning), (seed, at)
    beginnings = {
        (who, group_of[period.group.pk], period.role, period.starts_at)
        for who, user in users.items()
        for period in mine[user.pk]
        if START < period.starts_at <= START + 2 * DAY and user.contact_methods.exists() and user.is_active
    }
    found = {
        (number_of[one.user_id], group_of[one.group_id], one.role, one.starts_at)
        for one in OnCallReminder.objects.all()
    }
    assert {one for one in found if users[one[0]].contact_methods.exists()} == beginnings, seed


# -- feeds
# --------------------------------------------------------------------------------------------------------------
def test_a_groups_feed_shows_covers_and_the_groups_within_it_for_a_year():
    organization = factories.OrganizationFactory()
    ana, ben, cem = (factories.UserFactory(organization=organization, name=name) for name in ("Ana", "Ben", "Cem"))
    inner = factories.GroupFactory(organization=organization, name="Databases", primary=[ana, ben])
    outer = factories.GroupFactory(organization=organization, name="Operations")
    outer.nestings.create(child=inner)
    make_rotation(inner, primary=[ana, ben], first="2026-03-02")
    make_shift(outer, primary=[], kind="calendar", calendar_url="https://calendar.example.com/")
    make_absence(ana, cem, starts_at=WHEN, ends_at=WHEN + DAY)
    found = events(group_feed(outer, now=WHEN))
    assert ("Cem for Ana (Primary of Databases)", WHEN, WHEN + DAY) in found
    assert max(ends for _, _, ends in found) == WHEN + FEED_AHEAD
    assert timedelta(days=365) == FEED_AHEAD
    assert {said for said, *_ in found} == {
        "Ana (Primary of Databases)",
        "Ben (Primary of Databases)",
        "Cem for Ana (Primary of Databases)",
    }


def test_a_feed_is_bounded_however_many_on_call_shifts_there_are(monkeypatch):
    from escalation.oncall.calendars import feeds as feeds_module

    monkeypatch.setattr(feeds_module, "MAX_FEED_EVENTS", 10)
    assert MAX_FEED_EVENTS <= 5_000
    organization = factories.OrganizationFactory()
    people = [factories.UserFactory(organization=organization) for _ in range(2)]
    group = factories.GroupFactory(organization=organization, primary=people)
    make_rotation(group, primary=people, rotates_every="day", first="2026-03-02")
    for text in (group_feed(group, now=WHEN), feed_text(feed_of(user=people[0]).token, now=WHEN)):
        found = events(text)
        assert len(found) == 10
        assert found[-1][1] < WHEN + 30 * DAY
