"""What the API and the pages say and do about alerts that somebody has."""

from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from accounts.models.contact_methods import ContactMethod
from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from escalation.models.on_call import OutOfOffice
from escalation.models.runs import EscalationRun
from escalation.policies.clone import clone_policy
from escalation.policies.policies import RoleRule, create_policy
from heartbeat_project.kernel import clock
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db


# What is said about a new rule, and after how long it reminds.
SAID: list[tuple[dict[str, object], float]] = [
    ({}, 0),
    ({"priority": "critical"}, 60),
    ({"priority": "critical", "reopen_after_minutes": 0}, 0),
    ({"reopen_after_minutes": 2.5}, 2.5),
]


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana", roles=["App Admin"])


@pytest.fixture
def ben(organization):
    return factories.UserFactory(organization=organization, name="Ben", roles=["Basic"])


@pytest.fixture
def api(ana, client_for, now, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: now)
    return client_for(ana)


@pytest.fixture
def alert(organization, ana, ben, now):
    policy = factories.PolicyFactory(organization=organization)
    team = factories.GroupFactory(organization=organization, name="Ops", primary=[ana], secondary=[ben])
    return page(organization, policy=policy, groups=[team], now=now)


def post(api, alert, action, body=None):
    return api.post(f"/api/v1/alerts/{alert.pk}/{action}/", body or {}, format="json")


def browser(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_hold_may_have_an_end(api, alert, now):
    until = now + timedelta(hours=2)
    held = post(api, alert, "hold", {"until": until.isoformat()})
    assert held.status_code == 200, held.json()
    assert (held.json()["status"], held.json()["hold_until"]) == ("on_hold", until.isoformat().replace("+00:00", "Z"))
    assert "until" in alert.timeline.get(kind="held").text
    assert post(api, alert, "resume").json()["hold_until"] is None
    assert post(api, alert, "hold").json()["hold_until"] is None


@pytest.mark.parametrize("until", [timedelta(), timedelta(days=-1), timedelta(days=32)])
def test_a_hold_ends_in_the_near_future(api, alert, now, until):
    refused = post(api, alert, "hold", {"until": (now + until).isoformat()})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "/until"
    alert.refresh_from_db()
    assert alert.status == "open"


def test_assigning_notifies_somebody_else_once_and_nobody_of_what_they_did_themselves(api, alert, ana, ben):
    assigned = post(api, alert, "assign", {"user": ben.pk})
    assert assigned.json()["warnings"] == []
    assert [row.user for row in Notification.objects.filter(kind="assignment")] == [ben]
    assert "warnings" in post(api, alert, "assign").json()
    assert Notification.objects.filter(kind="assignment").count() == 1


def test_assigning_warns_of_what_keeps_the_new_owner_from_learning_of_it(api, alert, ana, ben, now):
    ContactMethod.objects.filter(user=ben).update(delay_minutes=30)
    OutOfOffice.objects.create(user=ben, cover=ana, starts_at=now, ends_at=now + timedelta(days=1))
    warnings = post(api, alert, "assign", {"user": ben.pk}).json()["warnings"]
    assert [warning.split(" at ")[0].split(" until ")[0] for warning in warnings] == [
        "Ben is first notified",
        "Ben is out of office",
    ]
    assert alert.timeline.filter(kind="skipped", text__startswith="Ben is not notified within").exists()


def test_an_acknowledgement_is_taken_back_once(api, alert):
    post(api, alert, "acknowledge")
    assert post(api, alert, "unacknowledge").status_code == 200
    alert.refresh_from_db()
    assert (alert.acknowledged_at, alert.acknowledged_by) == (None, None)
    assert post(api, alert, "unacknowledge").status_code == 409
    assert post(api, alert, "acknowledge").status_code == 200
    assert alert.timeline.filter(kind="acknowledged").count() == 2


def test_an_alert_is_given_back_by_whoever_has_it(api, alert):
    assert post(api, alert, "give-back").status_code == 409
    post(api, alert, "assign")
    given = post(api, alert, "give-back").json()
    assert (given["status"], given["owner"]) == ("open", None)
    assert alert.timeline.filter(kind="given_back").count() == 1


def test_rules_say_after_how_long_they_remind(api, organization):
    rules: dict[str, dict[str, object]] = {
        "/api/v1/escalation-policies/": {"roles": [{"role": "primary"}]},
        "/api/v1/response-plays/": {
            "tiers": [{"offset_minutes": 0, "groups": [factories.GroupFactory(organization=organization).pk]}]
        },
    }
    for url, more in rules.items():
        for number, (given, expected) in enumerate(SAID):
            made = api.post(url, {"name": f"rule {number}", **more, **given}, format="json")
            assert made.status_code == 201, made.json()
            assert made.json()["reopen_after_minutes"] == expected
        edited = api.patch(f"{url}{made.json()['id']}/", {"reopen_after_minutes": 7}, format="json").json()
        assert edited["reopen_after_minutes"] == 7
        assert api.patch(f"{url}{made.json()['id']}/", {"reopen_after_minutes": -1}, format="json").status_code == 400


def test_a_copy_reminds_as_its_original_does_and_a_run_as_its_policy_did(organization, ana, now):
    policy = create_policy(organization, name="p", roles=[RoleRule("primary")], reopen_after_minutes=15)
    assert clone_policy(policy).reopen_after_minutes == 15
    team = factories.GroupFactory(organization=organization, primary=[ana])
    alert = page(organization, policy=policy, groups=[team], now=now)
    assert EscalationRun.objects.get(alert=alert).reopen_after_minutes == 15


def test_shipped_policies_remind_where_they_are_critical(organization):
    shipped = organization.escalation_policies.values_list("priority", "reopen_after_minutes")
    assert {(priority, float(after)) for priority, after in shipped} >= {("critical", 60.0), ("high", 0.0)}


def test_the_admin_form_leaves_a_new_rule_to_its_priority(ana, organization):
    client = browser(ana)
    form = client.get("/admin/escalation/escalationpolicy/add/").context["adminform"].form
    assert form["reopen_after_minutes"].value() is None
    shipped = organization.escalation_policies.get(priority="critical")
    form = client.get(f"/admin/escalation/escalationpolicy/{shipped.pk}/change/").context["adminform"].form
    assert form["reopen_after_minutes"].value() == 60


def test_the_page_offers_holds_and_giving_back_and_warns_before_assigning(alert, ana, ben, now, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: now)
    ContactMethod.objects.filter(user=ben).update(delay_minutes=30)
    client = browser(ana)
    shown = client.get(f"/alerts/{alert.pk}/").content.decode()
    assert "Ben: Ben is first notified at" in shown
    assert "Hold until…" in shown
    assert "Give back" not in shown
    client.post(f"/alerts/{alert.pk}/take/")
    assert "Give back" in client.get(f"/alerts/{alert.pk}/").content.decode()
    client.post(f"/alerts/{alert.pk}/give-back/")
    alert.refresh_from_db()
    assert (alert.status, alert.owner) == ("open", None)
    answer = client.post(f"/alerts/{alert.pk}/hold/", {"until": "time", "time": "nonsense"})
    assert (answer.status_code, "Choose a date and a time." in answer.content.decode()) == (400, True)
    client.post(f"/alerts/{alert.pk}/hold/", {"until": "hour"})
    alert.refresh_from_db()
    assert alert.hold_until == now + timedelta(hours=1)
    assert "On hold until" in client.get(f"/alerts/{alert.pk}/").content.decode()
    client.post(f"/alerts/{alert.pk}/hold/", {"until": "time", "time": f"{now + timedelta(hours=3):%Y-%m-%dT%H:%M}"})
    alert.refresh_from_db()
    assert alert.hold_until == now + timedelta(hours=3)


def test_closing_by_hand_says_that_no_further_alert_comes_before_the_next_ping(alert, ana):
    Alert.objects.filter(pk=alert.pk).update(source="Heartbeat", integration_type="heartbeat")
    client = browser(ana)
    assert (
        "No new alert opens until its heartbeat has pinged again" in client.get(f"/alerts/{alert.pk}/").content.decode()
    )
    answer = client.post(f"/alerts/{alert.pk}/close/", {"close-reason": "x"})
    assert "Closed. No new alert opens until its heartbeat has pinged again." in [
        str(said) for said in get_messages(answer.wsgi_request)
    ]


def test_the_page_says_what_comes_to_an_alert_that_somebody_has(alert, ana, now, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: now)
    Alert.objects.filter(pk=alert.pk).update(source="Heartbeat", integration_type="heartbeat")
    EscalationRun.objects.filter(alert=alert).update(reopen_after_minutes=60)
    client = browser(ana)
    client.post(f"/alerts/{alert.pk}/take/")
    assert "If nothing is done, a reminder is sent at" in client.get(f"/alerts/{alert.pk}/").content.decode()
