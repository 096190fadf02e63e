"""Rules that lead alerts to others: gaps, previews and the consequences of a change consider them."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations.coverage import reports
from integrations.coverage.gaps import coverage_of
from integrations.coverage.reports import store_coverage, stored_coverage
from integrations.coverage.rule_routes import used_routes
from integrations.coverage.who_is_notified import current_coverage_gaps, who_would_be_notified
from integrations.inbound.edits import update_event_integration
from integrations.inbound.event import ReceivedEvent
from integrations.inbound.receive import receive
from integrations.models.integrations import InboundIntegration
from tests import factories
from tests.factories.shifts import make_shift
from tests.world import minutes

pytestmark = pytest.mark.django_db

WHEN = {"all": [{"path": "env", "op": "equals", "value": "test"}]}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")


@pytest.fixture
def ana(world):
    return world.person("ana")


@pytest.fixture
def empty(world):
    return world.team("Empty", primary=[])


def shop(world, *thens, **fields):
    """An API integration that notifies Ana, with a rule for each of these."""
    rules = [{"name": f"Rule of {number}", "when": WHEN, "then": then} for number, then in enumerate(thens, 1)]
    recipients = {"recipient_users": [world.person("ana")]} if "recipient_users" not in fields else {}
    return factories.ApiIntegrationFactory(
        organization=world.organization, now=world.now, rules=rules, **recipients, **fields
    )


def reasons(world):
    return {pk: gap.reason for pk, gap in coverage_of(world.organization, at=world.now).gaps.items()}


def test_a_rule_that_names_only_people_who_cannot_be_reached_is_a_gap(world, ana, empty):
    integration = shop(world, {"recipient_groups": [empty.pk], "replace": True})
    [reason] = reasons(world).values()
    assert reason.startswith("If rule 1 (“Rule of 1”) holds: Primary of Empty: nobody is there")
    assert current_coverage_gaps(world.organization, at=world.now) == {integration.pk: reason}
    problem = who_would_be_notified(integration, at=world.now).problems[-1]
    assert (problem.code, problem.text) == ("rule_reaches_nobody", reason)


def test_what_a_rule_adds_a_rule_that_opens_nothing_and_a_disabled_integration_are_no_gaps(world, ana, empty):
    off = world.policy(name="Off", enabled=False)
    shop(world, {"recipient_groups": [empty.pk]}, {"escalation_policy": off.pk, "action": "ignore"}, {"note": "n"})
    shop(world, {"escalation_policy": off.pk}, enabled=False)
    assert reasons(world) == current_coverage_gaps(world.organization, at=world.now) == {}


@pytest.mark.parametrize("lead", ["escalation_policy", "response_play", "recipient_users", "priority"])
def test_each_way_in_which_a_rule_can_lead_to_nobody_is_found(world, ana, lead):
    mute = world.person("mute")
    mute.contact_methods.update(label="Email-Second", enabled=False)
    then = {
        "escalation_policy": {"escalation_policy": world.policy(name="Off", enabled=False).pk},
        "response_play": {"response_play": factories.PlayFactory(organization=world.organization, enabled=False).pk},
        "recipient_users": {"recipient_users": [mute.pk], "replace": True},
        "priority": {"recipient_users": [ana.pk], "priority": "low"},
    }[lead]
    if lead == "priority":
        ana.contact_methods.update(label="Phone", from_priority="high")
    policy = world.policy(name="Of high priority", priority="high")
    integration = shop(world, {"recipient_users": [ana.pk]}, then, escalation_policy=policy)
    assert list(reasons(world)) == [integration.pk]
    assert reasons(world)[integration.pk].startswith("If rule 2")


def test_routes_of_rules_are_those_that_alerts_then_take(world, ana, empty):
    """The rule is followed as the events of the integration follow it."""
    play = factories.PlayFactory(organization=world.organization)
    bob = world.person("bob")
    thens = [
        {"recipient_groups": [empty.pk], "recipient_users": [bob.pk], "priority": "medium"},
        {"recipient_users": [bob.pk, ana.pk], "replace": True, "priority": "low"},
        {"response_play": play.pk, "replace": True},
        {"escalation_policy": world.policy(name="Other").pk},
    ]
    for then in thens:
        integration = shop(
            world, then, recipient_groups=[world.team("Shop", primary=["ana"])] if then is thens[0] else []
        )
        own = InboundIntegration.objects.filter(pk=integration.pk)
        [_, used] = used_routes(own, organization_id=world.organization.pk)
        received = receive(
            integration, ReceivedEvent(raw=b"{}", received_at=world.now, payload={"env": "test"}), now=world.now
        )
        alert = world.organization.alerts.get(pk=received.results[0].alert_id)
        recipients = alert.recipients.order_by("pk").values_list("group_id", "user_id")
        assert {group for group, _ in recipients if group} == set(used.route.group_ids), then
        assert {user for _, user in recipients if user} == set(used.route.user_ids), then
        assert (alert.run.policy_id, alert.run.play_id) == (
            used.route.policy and used.route.policy.pk,
            used.route.play and used.route.play.pk,
        )
        assert alert.priority == used.route.priority


def test_gaps_of_the_integration_and_of_its_rules_stand_side_by_side_and_are_stored(world, ana, empty, monkeypatch):
    team = world.team("Office", primary=["ana"])
    make_shift(team, primary=[ana], windows=[(WEEKDAYS, "08:00", "18:00")])
    integration = shop(
        world, {"recipient_groups": [empty.pk], "replace": True}, recipient_users=[], recipient_groups=[team]
    )
    coverage = coverage_of(world.organization, at=world.now)
    found = [(gap.rule, gap.starts_at, gap.ends_at) for gap in coverage.every[integration.pk][:2]]
    assert found == [(1, world.now, None), (0, world.now.replace(hour=18), found[1][2])]
    assert found[1][2] is not None
    monkeypatch.setattr(reports, "COMPUTED_AT_ONCE", 0)
    store_coverage(world.organization, coverage)
    assert stored_coverage(world.organization, now=world.now) == coverage


@pytest.mark.parametrize("of", ["user", "method", "group", "policy", "play"])
def test_a_change_that_leaves_a_rule_alone_is_said_before_it_is_made(world, client_for, monkeypatch, of):
    monkeypatch.setattr("heartbeat_project.kernel.clock.now", lambda: world.now)
    olga = world.person("olga", roles=["Owner", "App Admin"])
    bob = world.person("bob")
    team = world.team("Database", primary=["bob"])
    policy = world.policy(name="Nights", steps=[{"role": "primary"}])
    play = factories.PlayFactory(organization=world.organization)
    play.tiers.create(offset_minutes=0).users.add(bob)
    then = {
        "user": {"recipient_users": [bob.pk], "replace": True},
        "method": {"recipient_groups": [team.pk], "replace": True},
        "group": {"recipient_groups": [team.pk], "replace": True},
        "policy": {"escalation_policy": policy.pk},
        "play": {"response_play": play.pk},
    }[of]
    address, change = {
        "user": (f"users/{bob.pk}/", {"is_active": False}),
        "method": (f"contact-methods/{bob.contact_methods.get().pk}/", {"enabled": False}),
        "group": (f"groups/{team.pk}/", {"members": []}),
        "policy": (f"escalation-policies/{policy.pk}/", {"enabled": False}),
        "play": (f"response-plays/{play.pk}/", {"enabled": False}),
    }[of]
    bob.contact_methods.update(label="Email-Second")  # one that may be disabled
    integration = shop(world, then)
    elsewhere = factories.ApiIntegrationFactory(rules=[])
    assert elsewhere.organization_id != integration.organization_id
    key = bob if of == "method" else olga
    answer = client_for(key).patch(f"/api/v1/{address}", change, format="json")
    assert answer.status_code == 200, answer.json()
    [warning] = answer.json()["warnings"]
    assert warning["code"] == "reaches_nobody_now"


def test_a_new_gap_of_one_rule_is_said_though_another_has_one(world, client_for, ana, empty, monkeypatch):
    monkeypatch.setattr("heartbeat_project.kernel.clock.now", lambda: world.now)
    olga, bob = world.person("olga", roles=["Owner", "App Admin"]), world.person("bob")
    shop(
        world,
        {"recipient_groups": [empty.pk], "replace": True},
        {"recipient_users": [bob.pk], "replace": True},
    )
    answer = client_for(olga).patch(f"/api/v1/users/{bob.pk}/", {"is_active": False}, format="json")
    assert [warning["code"] for warning in answer.json()["warnings"]] == ["reaches_nobody_now"]


def test_rules_that_only_add_recipients_cost_nothing(world, ana, empty):
    integration = shop(world, *({"recipient_groups": [empty.pk]} for _ in range(20)))
    own = InboundIntegration.objects.filter(pk=integration.pk)
    assert len(used_routes(own, organization_id=world.organization.pk)) == 1


def test_queries_do_not_grow_with_rules(world, ana):
    def queries_with(count):
        for number in range(count):
            policy = world.policy(name=f"Policy {count}.{number}")
            shop(world, {"escalation_policy": policy.pk}, {"recipient_users": [world.person("zoe").pk]})
        with CaptureQueriesContext(connection) as queries:
            assert current_coverage_gaps(world.organization, at=world.now + timedelta(minutes=1)) == {}
        return len(queries)

    few = queries_with(2)
    assert queries_with(10) == few


def test_a_rule_that_is_changed_later_is_considered(world, ana, empty):
    integration = shop(world)
    assert reasons(world) == {}
    rule = {"when": {"all": []}, "then": {"recipient_groups": [empty.pk], "replace": True}}
    update_event_integration(integration, actor=None, now=world.now + minutes(1), rules=[rule])
    assert reasons(world)[integration.pk].startswith("If rule 1 holds: ")
