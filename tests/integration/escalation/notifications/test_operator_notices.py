"""Who operates the installation is notified of what is wrong with it, once an hour for each incident."""

import pytest
from django.core import mail

from escalation.models.notifications import Notification
from escalation.notifications.deliver import deliver_due
from escalation.notifications.notices import operator
from escalation.notifications.notices.operator import notify_operator, operator_address
from tests import factories
from tests.factories import WHEN
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def owners():
    """Two organizations, each with an Owner; the one that is older was made first."""
    older = factories.OrganizationFactory()
    younger = factories.OrganizationFactory()
    factories.UserFactory(organization=younger, email="yves@example.com", roles=["Owner"])
    factories.UserFactory(organization=older, email="olga@example.com", roles=["Owner"])


def notify(incident="broker", *, at=WHEN, **more):
    return notify_operator(incident, subject="The broker\nis away", text="Look at it.", now=at, **more)


def test_the_first_owner_is_notified_where_nobody_is_named():
    assert notify()
    deliver_due(now=WHEN)
    (message,) = mail.outbox
    assert (message.subject, message.to) == ("The broker is away", ["olga@example.com"])
    assert "Look at it." in message.body
    assert operator_address() == "olga@example.com"


def test_whoever_is_named_is_notified_though_they_have_no_account(settings):
    settings.OPERATOR_EMAIL = "ops@example.net"
    assert notify()
    deliver_due(now=WHEN)
    assert [message.to for message in mail.outbox] == [["ops@example.net"]]
    assert Notification.objects.get().status == Notification.Status.ACCEPTED
    assert operator_address() == "ops@example.net"


def test_an_incident_is_mailed_at_most_once_an_hour():
    written = [notify(at=WHEN + wait) for wait in (minutes(0), minutes(1), minutes(60) - seconds(1), minutes(60))]
    assert written == [True, False, False, True]
    assert Notification.objects.count() == 2


def test_incidents_do_not_hold_each_other_back():
    assert [notify("broker"), notify("disk"), notify("disk")] == [True, True, False]


@pytest.fixture
def standstill_mailed_at():
    at = [0.0]
    operator.ask_about_standstills(lambda: at[0])
    yield at
    operator.ask_about_standstills(None)


def test_what_a_standstill_brings_with_it_is_not_mailed_beside_it(standstill_mailed_at):
    def written():
        return notify("outage", part_of_standstill=True)

    standstill_mailed_at[0] = (WHEN - minutes(59)).timestamp()
    assert not written()
    assert notify("history")
    standstill_mailed_at[0] = (WHEN - minutes(60)).timestamp()
    assert written()


def test_without_an_owner_nothing_is_written_and_the_hour_is_not_used(caplog):
    owner = factories.UserFactory._meta.model.objects.filter(is_owner=True)
    kept = list(owner.values_list("pk", flat=True))
    owner.update(is_owner=False)
    assert not notify()
    assert "there is no Owner yet" in caplog.text
    owner.model.objects.filter(pk=kept[0]).update(is_owner=True)
    assert notify()
