"""What the tables of duty refuse, and that a storm costs no more queries than one alert."""

from datetime import date

import pytest
from django.db import IntegrityError, transaction

from escalation.rota.shifts import BEGINNING
from escalation.services.people import Directory
from escalation.shift_models import OutOfOffice, Shift, ShiftEntry, ShiftPerson, ShiftWindow
from escalation.walk import Plan, Stage, Target, Track
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
        with django_assert_num_queries(9):
            directory = Directory.of(batch, now=WHEN)
        assert people[0].pk not in directory.people(batch[0].tracks[0].stages[0].targets[0])


def test_a_shift_without_times_is_always(django_assert_num_queries):
    from escalation.on_call import rosters

    user = factories.UserFactory()
    group = factories.GroupFactory(organization=user.organization, primary=[user])
    shift = make_shift(group, primary=[user])
    (pure,) = rosters([group.pk], starts_at=WHEN)[group.pk].shifts
    assert (pure.id, pure.starts_at, pure.windows) == (shift.pk, BEGINNING, ())
    make_rotation(group, primary=[user], first="2030-01-01")
    assert Shift.objects.get(kind="rotating").first_handoff_on == date(2030, 1, 1)
