"""Responders, reassigning and stopping over the management API: who may, what is refused, what is answered."""

import pytest

from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db


@pytest.fixture
def alert(organization, person, now):
    steps = [{"role": "primary", "retries": 3}]
    policy = factories.PolicyFactory(organization=organization, name="Rota", version=3, steps=steps)
    page(organization, policy=policy, users=[person("ana")], name="backup", now=now)
    return EscalationRun.objects.get().alert


@pytest.fixture
def api(person, client_for):
    return client_for(person("olga", roles=["Owner"]))


def post(api, alert, action, **body):
    return api.post(f"/api/v1/alerts/{alert.pk}/{action}/", body, format="json")


def test_responders_are_notified_and_the_alert_is_answered(api, alert, organization, person):
    group = factories.GroupFactory(organization=organization, primary=[person("nina")])
    answer = post(api, alert, "responders", users=[person("zoe").pk], groups=[group.pk])
    assert (answer.status_code, answer.json()["status"]) == (200, "open"), answer.json()
    asked = Notification.objects.filter(asked_for=True)
    assert sorted(asked.values_list("user__name", flat=True)) == ["Nina", "Zoe"]
    timeline = api.get(f"/api/v1/alerts/{alert.pk}/timeline/").json()["results"]
    assert [line["kind"] for line in timeline][-1] == "responders_added"


def test_reassigning_answers_the_open_alert(api, alert, organization, person):
    post(api, alert, "assign")
    group = factories.GroupFactory(organization=organization, primary=[person("nina")])
    answer = post(api, alert, "reassign", groups=[group.pk]).json()
    assert (answer["status"], answer["owner"]) == ("open", None)
    policy = factories.PolicyFactory(organization=organization, name="Days")
    assert post(api, alert, "reassign", escalation_policy=policy.pk).status_code == 200
    assert EscalationRun.objects.get().name == "Days"


@pytest.mark.parametrize(
    ("action", "body", "pointer"),
    [
        ("responders", {}, "/users"),
        ("responders", {"users": [], "groups": []}, "/users"),
        ("responders", {"users": [0]}, "/users"),
        ("responders", {"people": [1]}, "/people"),
        ("reassign", {}, "/groups"),
        ("reassign", {"escalation_policy": None}, "/escalation_policy"),
        ("reassign", {"groups": ["x"]}, "/groups"),
    ],
)
def test_what_is_missing_or_wrong_is_said_at_its_field(api, alert, action, body, pointer):
    answer = post(api, alert, action, **body)
    assert answer.status_code == 400, answer.json()
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)


def test_nobody_and_nothing_of_another_organization_is_accepted(api, alert):
    stranger, group = factories.UserFactory(), factories.GroupFactory()
    policy, play = factories.PolicyFactory(), factories.PlayFactory()
    for action, body in (
        ("responders", {"users": [stranger.pk]}),
        ("responders", {"groups": [group.pk]}),
        ("responders", {"response_play": play.pk}),
        ("reassign", {"groups": [group.pk]}),
        ("reassign", {"escalation_policy": policy.pk}),
    ):
        assert post(api, alert, action, **body).status_code == 400, action


def test_an_alert_that_is_over_takes_neither(api, alert, person):
    post(api, alert, "close")
    assert post(api, alert, "responders", users=[person("zoe").pk]).status_code == 409
    policy = factories.PolicyFactory(organization=alert.organization)
    assert post(api, alert, "reassign", escalation_policy=policy.pk).status_code == 409


def test_an_alert_without_an_escalation_takes_neither(api, organization, person):
    bare = factories.AlertFactory(organization=organization)
    group = factories.GroupFactory(organization=organization, primary=[person("nina")])
    for action, body in (("responders", {"users": [person("zoe").pk]}), ("reassign", {"groups": [group.pk]})):
        assert post(api, bare, action, **body).status_code == 409
    assert not bare.timeline.exists()


def test_somebody_is_added_a_hundred_times_and_then_no_more(api, alert, person, monkeypatch):
    monkeypatch.setattr("escalation.responses.add_responders.MAX_TRACKS", 3)
    zoe = person("zoe")
    answers = [post(api, alert, "responders", users=[zoe.pk]).status_code for _ in range(3)]
    assert answers == [200, 200, 400]


def test_disabling_a_policy_stops_what_runs_by_it_where_that_is_asked_for(api, alert):
    url = f"/api/v1/escalation-policies/{alert.run.policy_id}/"
    refused = api.patch(url, {"stop_running": True}, format="json")
    assert refused.json()["errors"][0]["pointer"] == "/stop_running"
    answer = api.patch(url, {"enabled": False, "stop_running": True}, format="json")
    assert (answer.status_code, answer.json()["enabled"]) == (200, False)
    assert "stop_running" not in answer.json()
    run = EscalationRun.objects.get()
    assert (run.next_step_at, run.position["stopped"]) == (None, True)
    assert Notification.objects.get().status == "superseded"
    made = api.post(
        "/api/v1/escalation-policies/",
        {"name": "New", "roles": [{"role": "primary"}], "enabled": False, "stop_running": True},
        format="json",
    )
    assert made.status_code == 201, made.json()


def test_disabling_without_the_wish_says_so_in_the_timeline(api, alert):
    api.patch(f"/api/v1/escalation-policies/{alert.run.policy_id}/", {"enabled": False}, format="json")
    line = alert.timeline.get(kind="rule_changed")
    assert line.text == "The policy “Rota” was disabled by Olga; this escalation goes on as it began (version 3)."
    assert EscalationRun.objects.get().next_step_at is not None
