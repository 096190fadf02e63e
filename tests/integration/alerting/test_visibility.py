"""Who sees which alerts and who may respond, by role (domain: alerts 6)."""

import pytest

from alerting.selectors import may_respond, visible_alerts
from alerting.services.alerts import add_viewers
from tests import factories
from tests.integration.escalation.posting import draft, opened

pytestmark = pytest.mark.django_db

# For each role: what it sees of (own, own group's, another's, one of a deleted integration), what it may respond to.
TABLE = {
    "Owner": ("own group other integration", "own group other integration"),
    "App Admin": ("own group other integration", "own group other integration"),
    "Integrations Admin": ("own group integration", "own group"),
    "Basic": ("own group", "own group"),
    "Billing Admin": ("", ""),
    "Send Message": ("own group", "own group"),
    "System Viewer": ("own group other integration", "own"),
}


def alerts_around(user):
    organization = user.organization
    group = factories.GroupFactory(organization=organization, primary=[user])
    other = factories.GroupFactory(organization=organization)
    own, grouped, elsewhere, integrated = opened(
        [
            draft(organization, "own", user_ids=[user.pk]),
            draft(organization, "group", group_ids=[group.pk]),
            draft(organization, "other", group_ids=[other.pk]),
            draft(organization, "integration", integration_id=10**9),
        ],
        now=factories.WHEN,
    )
    return {"own": own, "group": grouped, "other": elsewhere, "integration": integrated}


@pytest.mark.parametrize(("role", "sees", "responds"), [(role, *row) for role, row in TABLE.items()])
def test_each_role_sees_and_responds_as_the_table_says(organization, role, sees, responds):
    user = factories.UserFactory(organization=organization, roles=[role])
    alerts = alerts_around(user)
    factories.AlertFactory()  # of another organization
    assert {alert.source_name for alert in visible_alerts(user)} == set(sees.split())
    assert {name for name, alert in alerts.items() if may_respond(user, alert)} == set(responds.split())


def test_a_role_that_only_configures_integrations_sees_their_alerts_and_may_act_on_none(organization):
    role = organization.roles.create(name="Installer", entitlements=["InboundIntegrations_GlobalAccess"])
    user = factories.UserFactory(organization=organization, roles=[])
    user.roles.set([role])
    alerts = alerts_around(user)
    factories.AlertFactory(integration_id=10**9)  # of another organization
    assert list(visible_alerts(user)) == [alerts["integration"]]
    assert not any(may_respond(user, alert) for alert in alerts.values())


def test_a_stakeholder_sees_and_cannot_respond(organization):
    user = factories.UserFactory(organization=organization, roles=["App Admin"], kind="stakeholder")
    alerts = alerts_around(user)
    assert visible_alerts(user).count() == 4
    assert not any(may_respond(user, alert) for alert in alerts.values())


def test_who_is_not_active_sees_nothing_and_cannot_respond(organization):
    user = factories.UserFactory(organization=organization)
    alerts = alerts_around(user)
    user.is_active = False
    assert not visible_alerts(user).exists()
    assert not may_respond(user, alerts["own"])


def test_an_owner_of_an_alert_sees_it(organization):
    user = factories.UserFactory(organization=organization)
    alert = factories.AlertFactory(organization=organization, status="assigned", owner=user, assigned_at=factories.WHEN)
    assert list(visible_alerts(user)) == [alert]


def test_who_was_notified_sees_it_once_however_often(organization):
    user = factories.UserFactory(organization=organization)
    alert = factories.AlertFactory(organization=organization)
    for _ in range(2):
        add_viewers([(alert.pk, user.pk), (alert.pk, user.pk)])
    assert list(visible_alerts(user)) == [alert]
    assert alert.recipients.count() == 1
