"""Alerts are opened and closed in sets."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert, TimelineEntry
from alerting.models.bridges import Bridge
from alerting.services import alerts as services
from alerting.services.alerts import close_alerts, open_alerts
from heartbeat_project.kernel.errors import FieldError
from tests import factories
from tests.integration.escalation.posting import draft, opened

pytestmark = pytest.mark.django_db


def queries(act):
    with CaptureQueriesContext(connection) as captured:
        act()
    return len(captured)


def test_opening_and_closing_cost_the_same_for_2_and_for_50(organization, now):
    user = factories.UserFactory(organization=organization)
    spent = [
        queries(
            lambda count=count: open_alerts(
                [draft(organization, str(number), user_ids=[user.pk, user.pk]) for number in range(count)], now=now
            )
        )
        for count in (2, 50)
    ]
    assert spent[0] == spent[1]
    ids = list(Alert.objects.values_list("pk", flat=True))
    assert queries(lambda: close_alerts(ids, reason="done", now=now)) == 1


def test_alerts_come_in_the_order_of_their_drafts(organization, now):
    alerts = opened([draft(organization, name) for name in "cab"], now=now)
    assert [alert.source_name for alert in alerts] == ["c", "a", "b"]
    assert [Alert.objects.get(pk=alert.pk).source_name for alert in alerts] == ["c", "a", "b"]


def test_a_name_that_is_too_long_for_a_column_does_not_keep_an_alert_from_opening(organization, now):
    (alert,) = opened([draft(organization, "x" * 500)], now=now)
    assert (len(alert.subject), len(alert.source_name)) == (300, 200)


def test_closing_returns_what_it_closed_and_leaves_final_alerts_alone(organization, now):
    first, second, third = opened([draft(organization, name) for name in "abc"], now=now)
    Alert.objects.filter(pk=second.pk).update(status="cancelled", closed_at=now)
    later = now + timedelta(minutes=1)
    assert close_alerts([third.pk, first.pk, second.pk, 10**12], reason="closed by heartbeat", now=later) == [
        first.pk,
        third.pk,
    ]
    assert close_alerts([first.pk], reason="again", now=later) == []
    first.refresh_from_db()
    assert (first.status, first.closed_at, first.close_reason) == ("closed", later, "closed by heartbeat")
    closed = TimelineEntry.objects.filter(kind="closed")
    assert set(closed.values_list("alert", "text")) == {
        (first.pk, "Closed by heartbeat."),
        (third.pk, "Closed by heartbeat."),
    }


def test_what_is_closed_for_another_reason_says_who_and_why(organization, now):
    ana = factories.UserFactory(organization=organization, name="Ana")
    alerts = opened([draft(organization, "a")], now=now)
    close_alerts([alerts[0].pk], reason="its heartbeat was deleted", now=now, actor=ana)
    entry = alerts[0].timeline.get(kind="closed")
    assert (entry.actor, entry.text) == (ana, "Closed by Ana: its heartbeat was deleted.")


def test_the_database_forbids_a_second_live_alert_of_a_heartbeat_and_a_second_for_one_silence(organization, now):
    open_alerts([draft(organization, "a", integration_id=7, expected_at=now)], now=now)
    with pytest.raises(IntegrityError, match="one_live_alert_per_heartbeat"), transaction.atomic():
        open_alerts([draft(organization, "a", integration_id=7, expected_at=now + timedelta(1))], now=now)
    Alert.objects.update(status="closed", closed_at=now)
    with pytest.raises(IntegrityError, match="one_alert_per_silence"), transaction.atomic():
        open_alerts([draft(organization, "a", integration_id=7, expected_at=now)], now=now)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "closed"},
        {"closed_at": factories.WHEN},
        {"status": "assigned"},
    ],
)
def test_the_database_forbids_states_that_contradict_themselves(organization, wrong):
    with pytest.raises(IntegrityError), transaction.atomic():
        factories.AlertFactory(organization=organization, **wrong)


def test_a_bridge_leads_somewhere(organization):
    with pytest.raises(IntegrityError), transaction.atomic():
        Bridge.objects.create(organization=organization, name="nowhere")


def test_only_who_can_take_an_alert_is_made_its_owner(organization, now):
    ana = factories.UserFactory(organization=organization)
    (alert,) = opened([draft(organization, "a")], now=now)
    for other in (
        factories.UserFactory(),
        factories.UserFactory(organization=organization, kind="stakeholder"),
        factories.UserFactory(organization=organization, is_active=False),
        factories.UserFactory(organization=organization, roles=["Billing Admin"]),
    ):
        with pytest.raises(FieldError):
            services.assign(alert, actor=ana, to=other, now=now)
    assert Alert.objects.get(pk=alert.pk).status == "open"


def test_the_first_assignment_is_kept(organization, now):
    ana, bob = (factories.UserFactory(organization=organization) for _ in range(2))
    (alert,) = opened([draft(organization, "a")], now=now)
    services.assign(alert, actor=ana, to=ana, now=now)
    services.assign(alert, actor=ana, to=bob, now=now + timedelta(minutes=5))
    assert (alert.owner, alert.assigned_at) == (bob, now)


def test_a_state_and_its_line_in_the_timeline_are_one_transaction(organization, now, monkeypatch):
    ana = factories.UserFactory(organization=organization)
    (alert,) = opened([draft(organization, "a")], now=now)

    def broken(**_):
        raise RuntimeError("the line cannot be written")

    monkeypatch.setattr(TimelineEntry.objects, "create", broken)
    with pytest.raises(RuntimeError):
        services.close(alert, actor=ana, now=now)
    assert Alert.objects.get(pk=alert.pk).status == "open"


def acknowledgements(alert):
    return alert.timeline.filter(kind="acknowledged").count()


def test_a_second_acknowledgement_by_the_same_person_leaves_no_line(organization, now):
    ana, ben = (factories.UserFactory(organization=organization) for _ in range(2))
    (alert,) = opened([draft(organization)], now=now)
    for user in (ana, ana, ben, ben):
        services.acknowledge(alert, actor=user, now=now)
    assert acknowledgements(alert) == 2
    services.escalate(alert, actor=ana, now=now)
    services.acknowledge(alert, actor=ana, now=now)
    assert acknowledgements(alert) == 3, "escalating took the acknowledgement back"
    services.close(alert, actor=ana, now=now)
    with pytest.raises(services.StateConflict):
        services.acknowledge(alert, actor=ana, now=now)
