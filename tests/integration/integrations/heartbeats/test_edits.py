"""Create, change, disable and delete heartbeats: what the service refuses, starts and stops."""

from decimal import Decimal

import pytest
from django.db import IntegrityError

from alerting.models.alerts import Alert
from heartbeat_project.kernel.errors import FieldError
from integrations.configuration.edits import IntegrationGone, delete_integration, rotate_token
from integrations.heartbeats import edits
from integrations.heartbeats.edits import create_heartbeat, update_heartbeat
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from tests import factories
from tests.world import minutes

pytestmark = pytest.mark.django_db


@pytest.fixture
def backup(organization, now):
    return factories.HeartbeatFactory(organization=organization, name="backup", now=now)


def refused(field):
    return pytest.raises(FieldError, check=lambda error: error.field == field)


def row_of(integration):
    return Heartbeat.objects.get(pk=integration.pk)


WRONG = [
    ("name", {"name": "  "}),
    ("interval_minutes", {"interval_minutes": 0}),
    ("interval_minutes", {"interval_minutes": Decimal("0.05")}),
    ("interval_minutes", {"interval_minutes": 44_641}),
    ("grace_minutes", {"grace_minutes": -1}),
    ("grace_minutes", {"grace_minutes": 44_641}),
    ("start_timer", {"start_timer": "never"}),
    ("escalation_policy", {"escalation_policy": None}),
]


@pytest.mark.parametrize(("field", "wrong"), WRONG)
def test_a_wrong_field_is_refused_and_nothing_is_saved(organization, backup, now, field, wrong):
    policy = organization.escalation_policies.first()
    good = {"name": "report", "interval_minutes": 5, "escalation_policy": policy}
    with refused(field):
        create_heartbeat(organization, actor=None, now=now, **good | wrong)
    before = Heartbeat.objects.values().get()
    with refused(field):
        update_heartbeat(backup, actor=None, now=now, **{"grace_minutes": 3} | wrong)
    assert Heartbeat.objects.values().get() == before
    assert [integration.name for integration in InboundIntegration.objects.all()] == ["backup"]


def test_both_a_policy_and_a_play_are_refused(organization, backup, now):
    play = factories.PlayFactory(organization=organization)
    with refused("escalation_policy"):
        update_heartbeat(backup, actor=None, now=now, response_play=play)


@pytest.mark.parametrize(
    "field", ["escalation_policy", "response_play", "bridge", "recipient_groups", "recipient_users"]
)
def test_what_belongs_to_another_organization_does_not_exist(organization, backup, now, field):
    other = factories.OrganizationFactory()
    foreign = {
        "escalation_policy": factories.PolicyFactory(organization=other),
        "response_play": factories.PlayFactory(organization=other),
        "bridge": factories.BridgeFactory(organization=other),
        "recipient_groups": [factories.GroupFactory(organization=other)],
        "recipient_users": [factories.UserFactory(organization=other)],
    }
    wrong = {field: foreign[field]} | ({"escalation_policy": None} if field == "response_play" else {})
    rule = {"escalation_policy": organization.escalation_policies.first()}
    with refused(field):
        create_heartbeat(organization, actor=None, now=now, name="report", interval_minutes=5, **rule | wrong)
    with refused(field):
        update_heartbeat(backup, actor=None, now=now, **wrong)
    assert InboundIntegration.objects.count() == 1


def test_a_name_that_is_taken_is_refused_at_the_name(organization, backup, now):
    with pytest.raises(FieldError) as raised:
        factories.HeartbeatFactory(organization=organization, name="BackUp")
    assert (raised.value.field, raised.value.code) == ("name", "unique")


def test_what_else_the_database_refuses_is_not_taken_for_the_name(organization, now, monkeypatch):
    monkeypatch.setattr(edits, "check_common", lambda *_: None)
    with pytest.raises(IntegrityError, match="policy_or_play"):
        create_heartbeat(organization, actor=None, now=now, name="report", interval_minutes=5)


def test_recipients_that_are_named_replace_those_before(backup, organization, now):
    ana, ben = (factories.UserFactory(organization=organization) for _ in range(2))
    update_heartbeat(backup, actor=None, now=now, recipient_users=[ana])
    update_heartbeat(backup, actor=None, now=now, recipient_users=[ben])
    update_heartbeat(backup, actor=None, now=now, name="nightly")
    assert list(backup.recipient_users.all()) == [ben]


def test_a_waiting_heartbeat_that_is_to_start_at_its_first_ping_stops_its_timer(backup, now):
    update_heartbeat(backup, actor=None, now=now, start_timer="first_ping")
    assert (row_of(backup).state, row_of(backup).armed_at, row_of(backup).deadline_at) == ("waiting", None, None)
    update_heartbeat(backup, actor=None, now=now + minutes(1), start_timer="when_enabled")
    assert row_of(backup).deadline_at == now + minutes(6)


def test_how_it_starts_does_not_matter_any_more_once_it_was_pinged(backup, now):
    Heartbeat.objects.update(state="healthy", last_ping_at=now)
    update_heartbeat(backup, actor=None, now=now + minutes(1), start_timer="first_ping")
    assert (row_of(backup).state, row_of(backup).deadline_at) == ("healthy", now + minutes(5))


def test_enabling_one_that_starts_at_its_first_ping_waits_for_it(backup, now):
    update_heartbeat(backup, actor=None, now=now, enabled=False, start_timer="first_ping")
    update_heartbeat(backup, actor=None, now=now, enabled=True)
    assert (row_of(backup).state, row_of(backup).deadline_at) == ("waiting", None)


def test_a_change_of_a_disabled_one_starts_nothing(backup, now):
    update_heartbeat(backup, actor=None, now=now, enabled=False)
    update_heartbeat(backup, actor=None, now=now, interval_minutes=7)
    assert (row_of(backup).state, row_of(backup).deadline_at) == ("disabled", None)


@pytest.mark.parametrize("end", ["disable", "delete"])
def test_disabling_and_deleting_close_what_is_live_and_leave_what_has_ended(backup, organization, now, end):
    def alert(status, minute, **more):
        return Alert.objects.create(
            organization=organization, subject="x", source="Heartbeat", integration_type="heartbeat", source_name="backup", source_id=str(backup.pk),
            integration_id=backup.pk, expected_at=now + minutes(minute), opened_at=now, status=status, **more,
        )  # fmt: skip

    cancelled, held = alert("cancelled", 1, closed_at=now), alert("on_hold", 2)
    if end == "disable":
        update_heartbeat(backup, actor=None, now=now, enabled=False)
    else:
        delete_integration(backup, actor=None, now=now)
    assert Alert.objects.get(pk=cancelled.pk).status == "cancelled"
    assert Alert.objects.get(pk=held.pk).status == "closed"


def test_one_that_was_deleted_is_gone(backup, now):
    InboundIntegration.objects.all().delete()
    with pytest.raises(IntegrationGone):
        update_heartbeat(backup, actor=None, now=now, name="late")
    with pytest.raises(IntegrationGone):
        delete_integration(backup, actor=None, now=now)
    with pytest.raises(IntegrationGone):
        rotate_token(backup, actor=None, now=now)


def test_the_log_says_what_was_done(backup, organization, now):
    ines = factories.UserFactory(organization=organization, name="Ines")
    bridge = factories.BridgeFactory(organization=organization, name="Ops line")
    update_heartbeat(backup, actor=ines, now=now, name="nightly", bridge=bridge, recipient_users=[ines])
    update_heartbeat(backup, actor=ines, now=now, enabled=False)
    rotate_token(backup, actor=ines, now=now)
    assert list(backup.events.order_by("id").values_list("kind", "text")) == [
        ("created", "Created."),
        ("changed", "Changed: name from backup to nightly; bridge from None to Ops line; recipient users."),
        ("disabled", "Disabled."),
        ("rotated", "The API URL was rotated."),
    ]


def test_recipient_groups_keep_the_order_in_which_they_were_named(organization, now):
    groups = [factories.GroupFactory(organization=organization) for _ in range(8)]
    named = [groups[index] for index in (3, 7, 0, 5, 1)]
    backup = factories.HeartbeatFactory(organization=organization, recipient_groups=named, now=now)

    def order():
        through = InboundIntegration.recipient_groups.through
        return [row.group for row in through.objects.filter(inboundintegration=backup).order_by("id")]

    assert order() == named
    update_heartbeat(backup, actor=None, now=now, recipient_groups=[groups[1], *named])
    assert order() == [groups[1], groups[3], groups[7], groups[0], groups[5]]
