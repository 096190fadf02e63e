"""Two Managers change the members of one group at the same moment: neither undoes what the other did."""

import threading

import pytest
from django.db.models import QuerySet

from accounts.models.groups import GroupMember
from accounts.services import members
from accounts.services.members import add_member
from tests import factories
from tests.concurrency.test_detectors import at_once
from tests.factories import WHEN

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.serial,
    pytest.mark.usefixtures("close_connections"),
]


@pytest.fixture
def group():
    organization = factories.OrganizationFactory()
    return factories.GroupFactory(
        organization=organization,
        managers=[factories.UserFactory(organization=organization, roles=["App Admin"])],
    )


def add_two_at_once(group):
    """Have two people added at the same moment; return what was raised."""
    actor = group.members.get().user
    ana, bob = (factories.UserFactory(organization=group.organization) for _ in range(2))
    return at_once(
        lambda: add_member(group, now=WHEN, actor=actor, user=ana, role="primary"),
        lambda: add_member(group, now=WHEN, actor=actor, user=bob, role="primary"),
    )


def test_both_are_in_the_group(group):
    assert add_two_at_once(group) == []
    assert GroupMember.objects.filter(group=group).count() == 3


def test_without_the_lock_one_of_them_would_be_lost(group, monkeypatch):
    meeting = threading.Barrier(2)
    real = members.update_group

    def update_group(*args, **options):
        meeting.wait(timeout=20)
        return real(*args, **options)

    monkeypatch.setattr(QuerySet, "select_for_update", lambda queryset, **_: queryset)
    monkeypatch.setattr(members, "update_group", update_group)
    add_two_at_once(group)
    assert GroupMember.objects.filter(group=group).count() < 3
