"""How the escalations of one moment are started, batch after batch."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from escalation.engine.start import EscalationStarter, Route
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.policies.policies import RoleRule, update_policy
from tests import factories
from tests.integration.escalation.posting import draft, opened

pytestmark = pytest.mark.django_db


@pytest.fixture
def start(organization, person, now):
    """Open an alert for each name and start their escalations as one batch; return what was asked about people."""
    ana = person("ana")
    starter = EscalationStarter(now=now)

    def batch(policy, *names):
        alerts = opened([draft(organization, name) for name in names], now=now)
        route = Route(organization.pk, policy, None, (), (ana.pk,))
        with CaptureQueriesContext(connection) as queries:
            starter.start([(route, [alert.pk for alert in alerts])])
        return [query["sql"] for query in queries if 'FROM "accounts_' in query["sql"]]

    return batch


def test_whom_to_notify_is_read_once_for_all_batches_of_a_moment(organization, start):
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    assert start(policy, "one", "two") != []
    assert start(policy, "three") == []
    assert Notification.objects.filter(user__name="Ana", step=1).count() == 3


def test_a_policy_that_was_edited_between_two_batches_is_followed_as_it_is_now(organization, start):
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    start(policy, "before")
    update_policy(policy, actor=None, now=factories.WHEN, roles=[RoleRule("primary", retries=2)])
    policy.refresh_from_db()
    start(policy, "after")
    before, after = EscalationRun.objects.order_by("alert_id")
    assert (before.version, after.version) == (1, 2)
    assert before.plan != after.plan
