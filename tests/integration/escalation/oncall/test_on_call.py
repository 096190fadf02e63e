"""What the tables of on-call shifts refuse, and that a storm costs no more queries than one alert."""

from datetime import date, timedelta

import pytest
from django.db import IntegrityError, transaction

from escalation.engine.plan import Plan, Stage, Target, Track
from escalation.engine.recipients import RecipientDirectory
from escalation.models.on_call import OutOfOffice, Shift, ShiftEntry, ShiftPerson, ShiftWindow
from escalation.oncall.rota.shifts import BEGINNING
from escalation.oncall.selectors import on_call_periods
from tests import factories
from tests.factories import WHEN
from tests.factories.shifts import make_absence, make_rotation, make_shift
from tests.world import minutes

pytestmark = pytest.mark.django_db


def refused(constraint):
    return pytest.raises(IntegrityError, match=constraint)


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"name": "EXISTING"}, "shift_name_unique"),
        ({"starts_at": WHEN, "ends_at": WHEN}, "shift_ends_after_start"),
        ({"kind": "rotating"}, "rotating_has_handoff"),
        ({"rotates_count": 0}, "rotation_moves_and_fills"),
        ({"people_at_once": 0}, "rotation_moves_and_fills"),
        ({"kind": "calendar", "calendar_due_at": WHEN}, "calendar_has_address"),
        ({"kind": "calendar", "calendar_url": "https://example.com"}, "calendar_has_address"),
        ({"calendar_url": "https://example.com"}, "calendar_has_address"),
    ],
)
def test_shifts(fields, constraint):
    group = factories.GroupFactory()
    Shift.objects.create(group=group, name="existing")
    with refused(constraint), transaction.atomic():
        Shift.objects.create(**{"group": group, "name": "new", **fields})


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"days": []}, "window_on_weekdays"),
        ({"days": ["someday"]}, "window_on_weekdays"),
        ({"ends": "08:00"}, "window_ends_after_start"),
        ({"days_later": 7}, "window_within_a_week"),
        ({"days_later": 8, "ends": "08:00"}, "window_within_a_week"),
    ],
)
def test_windows(fields, constraint):
    shift = Shift.objects.create(group=factories.GroupFactory(), name="x")
    with refused(constraint), transaction.atomic():
        ShiftWindow.objects.create(**{"shift": shift, "days": ["monday"], "starts": "08:00", "ends": "09:00", **fields})


def test_people_and_entries():
    user = factories.UserFactory()
    shift = Shift.objects.create(group=factories.GroupFactory(organization=user.organization), name="x")
    ShiftPerson.objects.create(shift=shift, user=user)
    with refused("shift_person_once_per_role"), transaction.atomic():
        ShiftPerson.objects.create(shift=shift, user=user)
    with refused("shift_person_role"), transaction.atomic():
        ShiftPerson.objects.create(shift=shift, user=user, role="manager")
    with refused("entry_ends_after_start"), transaction.atomic():
        ShiftEntry.objects.create(shift=shift, user=user, starts_at=WHEN, ends_at=WHEN)


def test_absences():
    user = factories.UserFactory()
    cover = factories.UserFactory(organization=user.organization)
    first, second = (factories.GroupFactory(organization=user.organization) for _ in range(2))

    def absent(**fields):
        values = {"user": user, "cover": cover, "starts_at": WHEN, "ends_at": WHEN + minutes(60), **fields}
        with transaction.atomic():
            return OutOfOffice.objects.create(**values)

    with refused("out_ends_after_start"):
        absent(ends_at=WHEN)
    with refused("cover_is_somebody_else"):
        absent(cover=user)
    absent(group=first)
    with refused("out_of_office_once"):
        absent(group=first, starts_at=WHEN + minutes(59), ends_at=WHEN + minutes(61))
    with refused("out_of_office_once"):
        absent()
    absent(group=second)
    absent(group=first, starts_at=WHEN + minutes(60), ends_at=WHEN + minutes(61))
    absent(user=cover, cover=user)


def test_the_people_behind_many_plans_are_read_in_as_many_queries_as_behind_one(django_assert_num_queries):
    organization = factories.OrganizationFactory()
    people = [factories.UserFactory(organization=organization) for _ in range(4)]
    plans = []
    for number in range(20):
        group = factories.GroupFactory(organization=organization, primary=people)
        make_shift(group, primary=people, windows=[(["monday"], "08:00", "18:00")])
        make_rotation(group, primary=people, secondary=people)
        stage = Stage("Primary", (Target("group", group.pk, "primary"), Target("user", people[number % 4].pk)))
        plans.append(Plan((Track((stage,)),)))
    make_absence(people[0], people[1], starts_at=WHEN, ends_at=WHEN + minutes(60))
    for batch in (plans[:1], plans, plans * 500):
        with django_assert_num_queries(11):
            directory = RecipientDirectory.of(batch, now=WHEN)
        assert people[0].pk not in directory.people(batch[0].tracks[0].stages[0].targets[0])


def test_a_shift_without_times_is_always(django_assert_num_queries):
    from escalation.oncall.rotas import group_rotas

    user = factories.UserFactory()
    group = factories.GroupFactory(organization=user.organization, primary=[user])
    shift = make_shift(group, primary=[user])
    (pure,) = group_rotas([group.pk], starts_at=WHEN)[group.pk].shifts
    assert (pure.id, pure.starts_at, pure.windows) == (shift.pk, BEGINNING, ())
    make_rotation(group, primary=[user], first="2030-01-01")
    assert Shift.objects.get(kind="rotating").first_handoff_on == date(2030, 1, 1)


# -- turns of who is out of office ------------------------------------------------------------------------------------
DAY = timedelta(days=1)


@pytest.fixture
def four():
    organization = factories.OrganizationFactory()
    return [factories.UserFactory(organization=organization, name=name) for name in ("Ana", "Bob", "Cy", "Dee")]


def periods_of(user, days=10):
    """Return the turns of the days from WHEN on: group, from which day to which, and for whom."""
    return [
        (str(period.group), (period.starts_at - WHEN) / DAY, (period.ends_at - WHEN) / DAY, str(period.covering or ""))
        for period in on_call_periods([user.pk], starts_at=WHEN, ends_at=WHEN + days * DAY, near=WHEN)[user.pk]
    ]


def test_a_turn_is_the_covers_while_its_person_is_out(four):
    ana, bob, *_ = four
    factories.GroupFactory(organization=ana.organization, name="Database", primary=[ana])
    make_absence(ana, bob, starts_at=WHEN + 2 * DAY, ends_at=WHEN + 4 * DAY)
    assert periods_of(ana) == [("Database", 0, 2, ""), ("Database", 4, 10, "")]
    assert periods_of(bob) == [("Database", 2, 4, "Ana")]


def test_the_end_of_a_chain_has_the_turn_and_who_cannot_be_notified_has_none(four):
    ana, bob, cy, dee = four
    factories.GroupFactory(organization=ana.organization, name="Database", primary=[ana])
    make_absence(ana, bob, starts_at=WHEN, ends_at=WHEN + 4 * DAY)
    make_absence(bob, cy, starts_at=WHEN + DAY, ends_at=WHEN + 3 * DAY)
    make_absence(cy, dee, starts_at=WHEN + 2 * DAY, ends_at=WHEN + 3 * DAY)
    assert periods_of(bob) == [("Database", 0, 1, "Ana"), ("Database", 3, 4, "Ana")]
    assert periods_of(cy) == [("Database", 1, 2, "Ana")]
    assert periods_of(dee) == [("Database", 2, 3, "Ana")]
    dee.contact_methods.all().delete()
    assert (periods_of(cy), periods_of(dee)) == ([("Database", 1, 3, "Ana")], [])
    cy.is_active = False
    cy.save()
    assert periods_of(bob) == [("Database", 0, 4, "Ana")]
    bob.contact_methods.all().delete()
    assert periods_of(ana) == [("Database", 0, 10, "")]


def test_an_absence_from_one_group_moves_its_turns_alone(four):
    ana, bob, *_ = four
    first, _ = (
        factories.GroupFactory(organization=ana.organization, name=name, primary=[ana]) for name in ("First", "Second")
    )
    make_absence(ana, bob, starts_at=WHEN - DAY, ends_at=WHEN + DAY, group=first)
    assert periods_of(ana) == [("Second", 0, 10, ""), ("First", 1, 10, "")]
    assert periods_of(bob) == [("First", 0, 1, "Ana")]


def test_who_has_a_turn_is_who_would_be_paged(four):
    ana, bob, cy, dee = four
    eve = factories.UserFactory(organization=ana.organization, name="Eve")
    group = factories.GroupFactory(organization=ana.organization, primary=[ana, bob], secondary=[cy, dee, eve])
    for user, cover, starts, ends in (
        *((ana, bob, 1, 4), (bob, cy, 2, 6), (cy, dee, 3, 5), (ana, cy, 5, 7), (eve, ana, 0, 3)),
        *((dee, eve, 4, 8), (eve, bob, 7, 9)),
    ):
        make_absence(user, cover, starts_at=WHEN + starts * DAY, ends_at=WHEN + ends * DAY)
    eve.is_active = False  # out of the member list's people, but her cover is notified
    eve.save()
    people = {user.pk for user in (ana, bob, cy, dee)}
    found = on_call_periods(people, starts_at=WHEN, ends_at=WHEN + 10 * DAY, near=WHEN)
    notified = set()
    for role in ("primary", "secondary"):
        target = Target("group", group.pk, role)
        plan = Plan((Track((Stage("Role", (target,)),)),))
        for half_days in range(20):
            at = WHEN + half_days * DAY / 2
            on = {
                user
                for user, mine in found.items()
                if any(period.role == role and period.starts_at <= at < period.ends_at for period in mine)
            }
            assert on == people & set(RecipientDirectory.of([plan], now=at).people(target)), (role, at)
            notified |= on
    assert notified == people


def test_turns_cost_the_same_queries_however_many_people_groups_and_absences(four, django_assert_num_queries):
    ana, bob, cy, dee = four
    make_absence(ana, bob, starts_at=WHEN, ends_at=WHEN + DAY)
    for rounds in (1, 8):
        for _ in range(rounds):
            group = factories.GroupFactory(organization=ana.organization, primary=[ana, cy])
            make_rotation(group, primary=[ana, cy], rotates_every="day", first="2026-03-01")
        with django_assert_num_queries(10):
            found = on_call_periods([bob.pk], starts_at=WHEN, ends_at=WHEN + 10 * DAY, near=WHEN)
        with django_assert_num_queries(10):
            on_call_periods([ana.pk, bob.pk, cy.pk, dee.pk], starts_at=WHEN, ends_at=WHEN + 10 * DAY, near=WHEN)
        assert found[bob.pk]
        for day in range(2, 8):
            make_absence(ana if rounds == 1 else cy, dee, starts_at=WHEN + day * DAY, ends_at=WHEN + (day + 1) * DAY)
