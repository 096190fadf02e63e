"""Two people, or one twice, say at the same moment that they are out of office; with real connections."""

import pytest
from django.db import transaction

from escalation.models.on_call import OutOfOffice
from escalation.oncall.absences import create_absence
from escalation.oncall.rota.covers import find_cycle
from escalation.oncall.rotas import pure_absence
from heartbeat_project.kernel.errors import FieldError
from tests.concurrency.test_detectors import at_once
from tests.factories import WHEN, OrganizationFactory, UserFactory
from tests.world import minutes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]
PERIOD = {"starts_at": WHEN, "ends_at": WHEN + minutes(60)}


@pytest.fixture
def people():
    organization = OrganizationFactory()
    return [UserFactory(organization=organization) for _ in range(3)]


@pytest.mark.parametrize("_", range(5))
def test_one_of_two_overlapping_entries_of_a_person_is_refused(people, close_connections, _):
    ana, bob, cy = people
    raised = at_once(
        lambda: create_absence(ana, actor=ana, cover=bob, now=WHEN, **PERIOD),
        lambda: create_absence(ana, actor=ana, cover=cy, now=WHEN, **PERIOD),
    )
    assert [type(error) for error in raised] == [FieldError]
    assert OutOfOffice.objects.count() == 1


@pytest.mark.parametrize("_", range(5))
def test_one_of_two_who_would_cover_each_other_is_refused(people, close_connections, _):
    ana, bob, _cy = people
    raised = at_once(
        lambda: create_absence(ana, actor=ana, cover=bob, now=WHEN, **PERIOD),
        lambda: create_absence(bob, actor=bob, cover=ana, now=WHEN, **PERIOD),
    )
    assert [(type(error), error.code) for error in raised] == [(FieldError, "circle")]
    assert OutOfOffice.objects.count() == 1


def test_without_the_lock_both_would_have_been_written(people, close_connections):
    """The negative control: each looks, sees nothing, and writes."""
    import threading

    ana, bob, _cy = people
    looked = threading.Barrier(2)

    def write(user, cover):
        with transaction.atomic():
            entry = OutOfOffice(user=user, cover=cover, **PERIOD)
            assert find_cycle(pure_absence(entry), [pure_absence(other) for other in OutOfOffice.objects.all()]) is None
            looked.wait(timeout=30)
            entry.save()

    assert at_once(lambda: write(ana, bob), lambda: write(bob, ana)) == []
    assert OutOfOffice.objects.count() == 2
