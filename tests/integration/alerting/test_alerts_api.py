"""Alerts and bridges over the management API."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert
from alerting.services import alerts as services
from heartbeat_project.kernel import clock
from tests import factories
from tests.integration.escalation.posting import draft, opened, page

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana", roles=["App Admin"])


@pytest.fixture
def api(ana, client_for):
    return client_for(ana)


@pytest.fixture
def alert(organization, ana, now):
    policy = factories.PolicyFactory(organization=organization)
    team = factories.GroupFactory(
        organization=organization,
        name="Ops",
        primary=[ana],
        secondary=[factories.UserFactory(organization=organization)],
    )
    return page(organization, policy=policy, groups=[team], now=now)


def post(api, alert, action, body=None):
    # Not the client's own JSON, which cannot hold the lone surrogates that a hostile one sends.
    return api.post(f"/api/v1/alerts/{alert.pk}/{action}/", json.dumps(body or {}), content_type="application/json")


def test_an_alert_has_the_fields_of_the_contract(api, alert):
    found = api.get(f"/api/v1/alerts/{alert.pk}/").json()
    assert list(found) == [
        "id", "status", "subject", "long_text", "short_text", "priority", "source", "source_name", "source_id",
        "integration", "owner", "bridge", "bridge_details", "opened_at", "assigned_at", "closed_at", "close_reason",
        "hold_until", "recipients", "created_by", "acknowledged_at", "acknowledged_by", "minutes_to_assign",
        "minutes_to_resolve", "url", "event_count", "last_event_at", "escalation_policy", "response_play",
    ]  # fmt: skip
    assert found["status"] == "open"
    assert found["opened_at"] == "2026-03-02T12:00:00Z"


def test_the_list_is_newest_first_in_pages(api, organization, now):
    alerts = opened([draft(organization, str(number)) for number in range(5)], now=now)
    first = api.get("/api/v1/alerts/?page_size=3").json()
    assert list(first) == ["next", "previous", "results"]
    assert [row["id"] for row in first["results"]] == [alert.pk for alert in alerts[:1:-1]]
    assert len(api.get(first["next"]).json()["results"]) == 2


def test_the_list_can_be_filtered(api, organization, now):
    early, late = (
        opened([draft(organization, "x", integration_id=number)], now=now + timedelta(hours=number))[0]
        for number in (1, 2)
    )

    def found(query):
        answer = api.get(f"/api/v1/alerts/?{query}")
        assert answer.status_code == 200, answer.json()
        return [row["id"] for row in answer.json()["results"]]

    assert found("status=open") == [late.pk, early.pk]
    assert found("status=closed") == []
    assert found("integration=1") == [early.pk]
    assert found("opened_after=2026-03-02T14:00:00Z") == [late.pk]
    assert found("opened_before=2026-03-02T14:00:00Z") == [early.pk]


def test_an_alert_says_what_it_follows_and_whom_it_came_to(api, organization, alert, ana, now):
    row = api.get(f"/api/v1/alerts/{alert.pk}/").json()
    assert (row["escalation_policy"], row["response_play"]) == (alert.run.policy_id, None)
    # The group was not named in the draft of this alert; Ana was notified.
    assert row["recipients"] == {"groups": [], "users": [ana.pk]}
    assert (row["created_by"], row["acknowledged_at"], row["acknowledged_by"]) == (None, None, None)
    assert (row["minutes_to_assign"], row["minutes_to_resolve"]) == (None, None)

    play = factories.PlayFactory(organization=organization)
    team = factories.GroupFactory(organization=organization)
    other = page(organization, name="other", play=play, users=[ana], group_ids=[team.pk], now=now)
    row = api.get(f"/api/v1/alerts/{other.pk}/").json()
    assert (row["escalation_policy"], row["response_play"]) == (None, play.pk)
    assert row["recipients"] == {"groups": [team.pk], "users": [ana.pk]}


def test_an_alert_says_who_opened_it_by_hand_and_who_acknowledged_it(api, organization, ana):
    policy = factories.PolicyFactory(organization=organization, quick_launch=True)
    given = {"subject": "x", "escalation_policy": policy.pk, "recipient_users": [ana.pk]}
    made = api.post("/api/v1/alerts/", given, format="json").json()
    assert (made["created_by"], made["escalation_policy"]) == (ana.pk, policy.pk)
    done = api.post(f"/api/v1/alerts/{made['id']}/acknowledge/", {}, format="json").json()
    assert (done["created_by"], done["acknowledged_by"]) == (ana.pk, ana.pk)
    assert done["acknowledged_at"] is not None


def test_minutes_count_from_the_opening_to_the_first_assignment_and_to_the_end(api, organization, ana, now):
    (alert,) = opened([draft(organization)], now=now)
    services.assign(alert, actor=ana, to=ana, now=now + timedelta(seconds=90))
    services.give_back(alert, actor=ana, now=now + timedelta(minutes=2))
    services.assign(alert, actor=ana, to=ana, now=now + timedelta(minutes=3))
    services.close(alert, actor=ana, now=now + timedelta(hours=1, seconds=4))
    row = api.get(f"/api/v1/alerts/{alert.pk}/").json()
    assert (row["minutes_to_assign"], row["minutes_to_resolve"]) == (1.5, 60.1)


def test_a_list_of_alerts_costs_the_same_number_of_queries_however_long_it_is(api, organization, ana, now):
    policy = factories.PolicyFactory(organization=organization)

    def queries():
        with CaptureQueriesContext(connection) as captured:
            rows = api.get("/api/v1/alerts/").json()["results"]
        assert all(row["escalation_policy"] == policy.pk for row in rows)
        return len(captured), len(rows)

    page(organization, policy=policy, users=[ana], now=now)
    queries()  # the first request may fill a cache
    (few, short) = queries()
    for number in range(5):
        page(organization, name=str(number), policy=policy, users=[ana], now=now)
    (many, long) = queries()
    assert (short, long) == (1, 6)
    assert few == many


def test_each_filter_of_the_contract_finds_its_alert_and_no_other(api, organization, ana, now):
    team = factories.GroupFactory(organization=organization)
    wanted, _ = opened(
        [
            draft(organization, "backup", source="API", group_ids=[team.pk])._replace(
                source_id="disk-1", priority="critical"
            ),
            draft(organization, "other", user_ids=[ana.pk]),
        ],
        now=now,
    )
    services.assign(wanted, actor=ana, to=ana, now=now)
    for query in (
        "source=API",
        "source_name=backup",
        "source_id=disk-1",
        "priority=critical",
        f"owner={ana.pk}",
        f"group={team.pk}",
        "search=BACK",
        f"search={wanted.pk}",
        "status=assigned&source=API&search=backup",
    ):
        rows = api.get(f"/api/v1/alerts/?{query}").json()["results"]
        assert [row["id"] for row in rows] == [wanted.pk], query
    assert len(api.get("/api/v1/alerts/?search=").json()["results"]) == 2
    assert api.get("/api/v1/alerts/?source=API&search=other").json()["results"] == []


@pytest.mark.parametrize(
    "query",
    [
        "priority=urgent",
        "owner=ana",
        "group=0",
        "source=" + "x" * 101,
        "search=" + "x" * 201,
        "status=nonsense",
        "integration=x",
        "integration=99999999999999999999999",
        "opened_after=yesterday",
        "opened_before=0001-01-01T00:00:00%2B14:00",
    ],
)
def test_a_bad_filter_is_named(api, query):
    answer = api.get(f"/api/v1/alerts/?{query}")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["errors"][0]["pointer"] == f"/{query.split('=')[0]}"


def test_actions_change_the_alert_and_answer_with_it(api, alert, ana):
    assert post(api, alert, "acknowledge").json()["status"] == "open"
    assert post(api, alert, "assign").json() | {"owner": ana.pk} == post(api, alert, "assign", {"user": ana.pk}).json()
    assert post(api, alert, "escalate").json()["owner"] is None
    assert post(api, alert, "hold").json()["status"] == "on_hold"
    assert post(api, alert, "resume").json()["status"] == "open"
    assert post(api, alert, "reply", {"text": "note"}).status_code == 200
    closed = post(api, alert, "close", {"reason": "done"}).json()
    assert (closed["status"], closed["close_reason"]) == ("closed", "done")
    kinds = [entry["kind"] for entry in api.get(f"/api/v1/alerts/{alert.pk}/timeline/").json()["results"]]
    assert kinds == [
        "opened", "acknowledged", "assigned", "assigned", "escalated", "held", "resumed", "replied", "closed",
    ]  # fmt: skip


def test_an_action_that_the_state_forbids_is_a_conflict(api, alert):
    post(api, alert, "cancel")
    answer = post(api, alert, "assign")
    assert (answer.status_code, answer.json()["code"]) == (409, "alert_state")
    assert "Cancelled" in answer.json()["detail"]


def test_escalate_makes_the_next_step_due(api, organization, ana):
    team = factories.GroupFactory(organization=organization, primary=[ana], secondary=[ana])
    policy = factories.PolicyFactory(organization=organization)
    alert = page(organization, policy=policy, groups=[team], now=clock.now())
    assert post(api, alert, "escalate").status_code == 200
    alert.run.refresh_from_db()
    assert alert.run.next_step_at == alert.timeline.get(kind="escalated").at


def test_notifications_show_who_was_notified_and_no_address(api, alert, ana):
    (row,) = api.get(f"/api/v1/alerts/{alert.pk}/notifications/").json()["results"]
    assert (row["user"], row["label"], row["status"], row["kind"]) == (ana.pk, "Email-Official", "pending", "page")
    assert "address" not in row


def test_notifications_show_no_offers_to_stakeholders_whose_messages_have_none(api, organization, ana, now):
    reader = factories.UserFactory(organization=organization, kind="stakeholder")
    policy = factories.PolicyFactory(organization=organization)
    notification = page(organization, policy=policy, users=[ana, reader], now=now)
    rows = api.get(f"/api/v1/alerts/{notification.pk}/notifications/").json()["results"]
    assert {row["user"]: row["allowed_actions"] for row in rows} == {
        ana.pk: ["acknowledge", "assign", "escalate", "close"],
        reader.pk: [],
    }


def test_a_list_of_notifications_costs_the_same_number_of_queries_however_long_it_is(api, organization, now):
    policy = factories.PolicyFactory(organization=organization)
    people = [factories.UserFactory(organization=organization) for _ in range(5)]

    def queries(users):
        notification = page(organization, policy=policy, users=users, now=now)
        with CaptureQueriesContext(connection) as captured:
            rows = api.get(f"/api/v1/alerts/{notification.pk}/notifications/").json()["results"]
        assert len(rows) == len(users)
        return len(captured)

    queries(people[:1])  # the first request may fill a cache
    assert queries(people) == queries(people[:1])


@pytest.mark.parametrize(
    ("action", "body", "pointer"),
    [
        ("reply", {}, "/text"),
        ("reply", {"text": ""}, "/text"),
        ("reply", {"text": "a\x00b"}, "/text"),
        ("reply", {"text": "\ud800"}, "/text"),
        ("reply", {"text": ["x"]}, "/text"),
        ("assign", {"user": 10**30}, "/user"),
        ("assign", {"user": "x"}, "/user"),
        ("assign", {"user": True}, "/user"),
        ("assign", {"owner": 1}, "/owner"),
        ("close", {"reason": "x" * 201}, "/reason"),
        ("close", {"reason": {}}, "/reason"),
        ("hold", {"until": "x"}, "/until"),
        ("hold", {"\ud800": 1}, "/?"),
        ("escalate", [1], ""),
    ],
)
def test_bad_input_is_named_and_changes_nothing(api, alert, action, body, pointer):
    answer = post(api, alert, action, body)
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["pointer"] == pointer
    alert.refresh_from_db()
    assert alert.status == "open"


def test_an_alert_of_another_organization_does_not_exist(api, client_for):
    other = factories.AlertFactory()
    assert api.get(f"/api/v1/alerts/{other.pk}/").status_code == 404
    for action in ("acknowledge", "assign", "escalate", "hold", "resume", "close", "cancel", "reply"):
        assert post(api, other, action, {"text": "x"} if action == "reply" else {}).status_code == 404
    assert post(api, Alert(pk="9" * 30), "close").status_code == 404


def test_a_user_of_another_organization_cannot_be_made_owner(api, alert):
    stranger = factories.UserFactory()
    assert post(api, alert, "assign", {"user": stranger.pk}).status_code == 400


def test_who_only_looks_on_may_not_respond(organization, alert, client_for):
    viewer = client_for(factories.UserFactory(organization=organization, roles=["System Viewer"]))
    assert viewer.get(f"/api/v1/alerts/{alert.pk}/").status_code == 200
    for action in ("acknowledge", "assign", "escalate", "hold", "close", "cancel"):
        assert post(viewer, alert, action).status_code == 403
    basic = client_for(factories.UserFactory(organization=organization))
    assert post(basic, alert, "close").status_code == 404
    billing = client_for(factories.UserFactory(organization=organization, roles=["Billing Admin"]))
    assert billing.get("/api/v1/alerts/").status_code == 403
    assert alert.timeline.count() == 1


def test_an_alert_is_not_edited_or_deleted(api, alert):
    assert api.patch(f"/api/v1/alerts/{alert.pk}/", {}, format="json").status_code == 405
    assert api.delete(f"/api/v1/alerts/{alert.pk}/").status_code == 405


class TestBridges:
    def test_a_bridge_lives_its_life(self, api, organization):
        made = api.post("/api/v1/bridges/", {"name": " War room ", "phone_number": "+49"}, format="json")
        assert made.status_code == 201, made.json()
        assert made.json() == {
            "id": made.json()["id"], "name": "War room", "phone_number": "+49", "access_code": "", "meeting_url": "",
        }  # fmt: skip
        url = f"/api/v1/bridges/{made.json()['id']}/"
        changed = api.patch(url, {"meeting_url": "https://meet.example.com/x"}, format="json")
        assert (changed.status_code, changed.json()["phone_number"]) == (200, "+49")
        assert api.delete(url).status_code == 204
        assert api.get(url).status_code == 404

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"name": "x"}, "/phone_number"),
            ({"phone_number": "1"}, "/name"),
            ({"name": "x", "meeting_url": "javascript:alert(1)"}, "/meeting_url"),
            ({"name": "x", "meeting_url": "ftp://example.com/"}, "/meeting_url"),
            ({"name": "TAKEN", "phone_number": "1"}, "/name"),
            ({"name": "x", "phone_number": "1", "colour": "red"}, "/colour"),
        ],
    )
    def test_bad_input_is_named(self, api, organization, body, pointer):
        factories.BridgeFactory(organization=organization, name="Taken")
        answer = api.post("/api/v1/bridges/", body, format="json")
        assert answer.status_code == 400, answer.content
        assert answer.json()["errors"][0]["pointer"] == pointer

    def test_who_maintains_and_who_reads(self, organization, client_for):
        bridge = factories.BridgeFactory(organization=organization)
        url = f"/api/v1/bridges/{bridge.pk}/"
        for role, reads, writes in (
            ("Integrations Admin", 200, 200),
            ("Basic", 200, 403),
            ("System Viewer", 200, 403),
            ("Billing Admin", 403, 403),
        ):
            client = client_for(factories.UserFactory(organization=organization, roles=[role]))
            assert client.get(url).status_code == reads
            assert client.patch(url, {"access_code": "1"}, format="json").status_code == writes
        stranger = client_for(factories.UserFactory(roles=["App Admin"]))
        assert stranger.get(url).status_code == 404
