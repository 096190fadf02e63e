"""How far ahead a rota is looked at: shifts that are over take no room from those that go on."""

from datetime import timedelta

import pytest

from escalation.models.on_call import Shift
from escalation.oncall.rotas import group_rotas
from tests.factories import GroupFactory, UserFactory
from tests.factories.shifts import make_shift

pytestmark = pytest.mark.django_db
EVERY_DAY = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
MOST = 2_000


@pytest.fixture
def group(now):
    user = UserFactory(roles=["Basic"])
    group = GroupFactory(organization=user.organization, primary=[user])
    make_shift(group, primary=[user], windows=[(EVERY_DAY, "08:00", "20:00")])
    for _ in range(40):
        make_shift(group, primary=[user], windows=[(EVERY_DAY, "08:00", "20:00")])
    old = group.shifts.order_by("-pk")[:40].values("pk")
    Shift.objects.filter(pk__in=list(old.values_list("pk", flat=True))).update(ends_at=now - timedelta(days=1))
    return group


def test_shifts_that_are_over_shorten_no_outlook(group, now):
    year = now + timedelta(days=365)
    read = group_rotas([group.pk], starts_at=now, ends_at=year)
    assert read.affordable(now, year, now=now, most=MOST) == (now, year)


def test_the_end_of_an_on_call_shift_is_found_behind_shifts_that_are_over(group, now):
    group_rota = group_rotas([group.pk], starts_at=now, ends_at=now + timedelta(days=14))[group.pk]
    going_on, ended = group_rota.on_call(now), now + timedelta(days=100)
    Shift.objects.filter(pk=going_on.shift.id).update(ends_at=ended)
    group_rota = group_rotas([group.pk], starts_at=now, ends_at=now + timedelta(days=14))[group.pk]
    found = group_rota.end_of(
        lambda rota_period: rota_period.starts_at < ended, after=now + timedelta(days=14), most=MOST // 10
    )
    assert found == ended
