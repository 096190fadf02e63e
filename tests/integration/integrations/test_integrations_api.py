"""The management API of integrations: bad input at its field, tenancy, and what a change does."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from heartbeat_project.kernel import clock
from integrations.api import integrations as views
from integrations.models.integrations import InboundIntegration
from integrations.models.windows import MaintenanceWindow
from integrations.ping_lane.batch import Arrival, record_pings
from tests import factories

pytestmark = pytest.mark.django_db
URL = "/api/v1/integrations/"
WINDOWS = "/api/v1/maintenance-windows/"
FOREIGN = object()  # stands for the id of an object of another organization


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization)


@pytest.fixture
def play(organization):
    return factories.PlayFactory(organization=organization)


@pytest.fixture
def api(organization, client_for, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)
    client = client_for(factories.UserFactory(organization=organization, name="Ines", roles=["Integrations Admin"]))
    client.raise_request_exception = False
    return client


@pytest.fixture
def backup(organization, policy):
    return factories.HeartbeatFactory(organization=organization, name="backup", escalation_policy=policy)


@pytest.fixture
def good(policy):
    return {"name": "report", "interval_minutes": 5, "escalation_policy": policy.pk}


@pytest.fixture
def foreign(db):
    """Ids that exist, in another organization."""
    other = factories.OrganizationFactory()
    heartbeat = factories.HeartbeatFactory(organization=other)
    return {
        "escalation_policy": factories.PolicyFactory(organization=other).pk,
        "response_play": factories.PlayFactory(organization=other).pk,
        "bridge": factories.BridgeFactory(organization=other).pk,
        "recipient_groups": [factories.GroupFactory(organization=other).pk],
        "recipient_users": [factories.UserFactory(organization=other).pk],
        "integrations": [heartbeat.pk],
    }


def send(method, url, body):
    # Not the client's own JSON, which cannot hold the lone surrogates and the huge numbers that a hostile one sends.
    content = body if isinstance(body, bytes) else json.dumps(body)
    return method(url, content, content_type="application/json")


def pointers(answer):
    assert answer.status_code == 400, (answer.status_code, answer.content)
    assert answer["Content-Type"] == "application/problem+json"
    return {error["pointer"] for error in answer.json()["errors"]}


# -- create and read ---------------------------------------------------------------------------------------------------
def test_a_created_heartbeat_has_its_defaults_its_url_and_a_running_clock(api, good, policy):
    answer = send(api.post, URL, good)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    token = InboundIntegration.objects.get(pk=body["id"]).token
    assert body.pop("api_url").endswith(f"/Heartbeat/{token}")
    assert body == {
        "id": body["id"],
        "type": "heartbeat",
        "name": "report",
        "interval_minutes": 5,
        "grace_minutes": 0,
        "start_timer": "when_enabled",
        "allow_get": False,
        "escalation_policy": policy.pk,
        "response_play": None,
        "recipient_groups": [],
        "recipient_users": [],
        "bridge": None,
        "enabled": True,
        "tags": [],
        "description": "",
        "priority": None,
        "email_address": f"{InboundIntegration.objects.get(pk=body['id']).mail_token}@127.0.0.1",
        "request_url": None,
        "state": "waiting",
        "last_ping_at": None,
        "deadline_at": "2026-03-02T12:05:00Z",
        "ping_count": 0,
    }


def test_every_field_that_is_given_is_kept(api, organization, play):
    users = [factories.UserFactory(organization=organization).pk for _ in range(2)]
    given = {
        "name": "  nightly ETL  ",
        "interval_minutes": 0.1,
        "grace_minutes": "44640",
        "start_timer": "first_ping",
        "allow_get": True,
        "response_play": play.pk,
        "recipient_groups": [factories.GroupFactory(organization=organization).pk],
        "recipient_users": users,
        "bridge": factories.BridgeFactory(organization=organization).pk,
        "enabled": False,
    }
    body = send(api.post, URL, given).json()
    kept = given | {"name": "nightly ETL", "grace_minutes": 44640}
    assert {field: body[field] for field in given} == kept
    assert (body["state"], body["deadline_at"]) == ("disabled", None)
    assert {field: api.get(f"{URL}{body['id']}/").json()[field] for field in given} == kept


@pytest.mark.parametrize("interval", [0.1, "0.1", 1.5, 44640, "44640.0"])
def test_an_interval_at_its_bounds_is_taken(api, good, interval):
    assert send(api.post, URL, good | {"interval_minutes": interval}).status_code == 201


# -- bad input ---------------------------------------------------------------------------------------------------------
WRONG_IDS = [0, -1, 10**30, True, "x", "\x00", [], {}, 1.5, FOREIGN]
WRONG_LISTS = ["x", None, {}, 5, [True], [None], [10**30], ["\x00"], [[]], [1.5], [0], list(range(1, 502)), FOREIGN]
WRONG = {
    "name": ["", "   ", None, "x" * 201, "a\x00b", "a\nb", "a\ud800b", True, [], {}],
    "interval_minutes": [
        None, "", 0, -5, 0.05, "0.05", 1.25, 44640.1, 44641, True, False, "five", "NaN", "Infinity", "1e9", [], {},
        10**400, 1e308, "9" * 5000, "\x00", "\ud800",
    ],
    "grace_minutes": [None, -0.1, 0.05, 44640.1, True, "NaN", 10**400, []],
    "start_timer": ["never", "", None, 5, [], {}, "\x00", "\ud800"],
    "allow_get": ["perhaps", None, 2, [], {}, "\ud800"],
    "enabled": ["perhaps", None, 2, [], {}],
    "type": ["nonsense", None, [], "\ud800"],
    "escalation_policy": WRONG_IDS,
    "response_play": WRONG_IDS,
    "bridge": WRONG_IDS,
    "recipient_groups": WRONG_LISTS,
    "recipient_users": WRONG_LISTS,
    "colour": ["red"],
    "token": ["mine"],
    "api_url": ["mine"],
    "state": ["healthy"],
    "ping_count": [1, -1, "0"],
    "id": [1],
    "\ud800": [1],
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_value_is_named_at_its_field_and_nothing_is_saved(api, good, backup, foreign, field):
    before = InboundIntegration.objects.filter(pk=backup.pk).values().get()
    for wrong in WRONG[field]:
        value = foreign[field] if wrong is FOREIGN else wrong
        found = pointers(send(api.post, URL, good | {field: value}))
        assert any(pointer.startswith(f"/{field}") for pointer in found) or field == "\ud800", (value, found)
        found = pointers(send(api.patch, f"{URL}{backup.pk}/", {field: value}))
        assert any(pointer.startswith(f"/{field}") for pointer in found) or field == "\ud800", (value, found)
    assert InboundIntegration.objects.filter(organization=backup.organization).count() == 1
    assert InboundIntegration.objects.filter(pk=backup.pk).values().get() == before


@pytest.mark.parametrize(
    ("missing", "pointer"),
    [("name", "/name"), ("interval_minutes", "/interval_minutes"), ("escalation_policy", "/escalation_policy")],
)
def test_a_missing_required_field_is_named(api, good, missing, pointer):
    del good[missing]
    assert pointers(send(api.post, URL, good)) == {pointer}
    assert not InboundIntegration.objects.exists()


@pytest.mark.parametrize("body", [b"", b"[1, 2", b"[]", b"null", b"7", b'"x"', b"\xff\xfe", b"[" * 5000, b'{"a": NaN}'])
def test_a_body_that_is_no_object_is_a_400(api, backup, body):
    for answer in (send(api.post, URL, body), send(api.put, f"{URL}{backup.pk}/", body)):
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("pk", ["0", "999999999", "9" * 18, "9" * 30, "-1", "x", "%00", "1.5"])
def test_an_id_that_is_none_is_a_404(api, pk):
    for method in (api.get, api.patch, api.put, api.delete):
        assert method(f"{URL}{pk}/", {}, format="json").status_code == 404
    assert api.get(f"{URL}{pk}/pings/").status_code == 404
    assert api.post(f"{URL}{pk}/rotate-token/").status_code == 404


# -- policy or play ----------------------------------------------------------------------------------------------------
def test_both_a_policy_and_a_play_are_refused(api, good, play, backup):
    answer = send(api.post, URL, good | {"response_play": play.pk})
    assert pointers(answer) == {"/escalation_policy"}
    assert "not both" in answer.json()["errors"][0]["detail"]
    both = {"escalation_policy": backup.escalation_policy_id, "response_play": play.pk}
    assert pointers(send(api.patch, f"{URL}{backup.pk}/", both)) == {"/escalation_policy"}


@pytest.mark.parametrize("neither", [{"escalation_policy": None}, {"escalation_policy": None, "response_play": None}])
def test_neither_a_policy_nor_a_play_is_refused(api, good, backup, neither):
    assert pointers(send(api.post, URL, good | neither)) == {"/escalation_policy"}
    assert pointers(send(api.patch, f"{URL}{backup.pk}/", neither)) == {"/escalation_policy"}


def test_naming_the_play_replaces_the_policy_and_back_again(api, backup, play, policy):
    swapped = send(api.patch, f"{URL}{backup.pk}/", {"response_play": play.pk}).json()
    assert (swapped["escalation_policy"], swapped["response_play"]) == (None, play.pk)
    back = send(api.patch, f"{URL}{backup.pk}/", {"escalation_policy": policy.pk}).json()
    assert (back["escalation_policy"], back["response_play"]) == (policy.pk, None)
    said = {"escalation_policy": None, "response_play": play.pk}
    assert {**send(api.patch, f"{URL}{backup.pk}/", said).json(), **said} == api.get(f"{URL}{backup.pk}/").json()


# -- the name ----------------------------------------------------------------------------------------------------------
def test_a_name_is_taken_whatever_its_case_in_this_organization_alone(api, good, backup):
    factories.HeartbeatFactory(name="report")
    report = send(api.post, URL, good)
    assert report.status_code == 201
    answer = send(api.post, URL, good | {"name": " BackUp "})
    assert pointers(answer) == {"/name"}
    assert answer.json()["errors"][0]["code"] == "unique"
    assert pointers(send(api.patch, f"{URL}{report.json()['id']}/", {"name": "BACKUP"})) == {"/name"}
    assert send(api.patch, f"{URL}{backup.pk}/", {"name": "BACKUP"}).json()["name"] == "BACKUP"


def test_a_refused_name_leaves_the_rest_of_the_change_undone(api, good, backup):
    report = send(api.post, URL, good).json()
    url = f"{URL}{report['id']}/"
    assert send(api.patch, url, {"name": "backup", "interval_minutes": 7, "enabled": False}).status_code == 400
    assert api.get(url).json() == report


# -- changes -----------------------------------------------------------------------------------------------------------
def test_a_change_touches_what_it_names_and_nothing_else(api, backup):
    url = f"{URL}{backup.pk}/"
    before = api.get(url).json()
    changed = send(api.patch, url, {"interval_minutes": 7.5}).json()
    assert changed == before | {"interval_minutes": 7.5, "deadline_at": "2026-03-02T11:07:30Z"}
    assert send(api.patch, url, {}).json() == changed


def test_recipients_are_replaced_and_taken_away(api, backup, organization):
    url = f"{URL}{backup.pk}/"
    users = [factories.UserFactory(organization=organization).pk for _ in range(3)]
    assert send(api.patch, url, {"recipient_users": [users[0], users[0], users[1]]}).json()["recipient_users"] == [
        users[0],
        users[1],
    ]
    assert send(api.patch, url, {"recipient_users": users[2:]}).json()["recipient_users"] == users[2:]
    assert send(api.patch, url, {"recipient_users": []}).json()["recipient_users"] == []


def test_disabling_stops_the_timer_and_enabling_starts_it(api, backup):
    url = f"{URL}{backup.pk}/"
    off = send(api.patch, url, {"enabled": False}).json()
    assert (off["state"], off["deadline_at"]) == ("disabled", None)
    on = send(api.patch, url, {"enabled": True}).json()
    assert (on["state"], on["deadline_at"]) == ("waiting", "2026-03-02T12:05:00Z")


@pytest.mark.parametrize("kind", ["heartbeat", "api"])
def test_disabling_warns_of_the_alerts_that_it_closed(api, backup, organization, kind):
    other = factories.ApiIntegrationFactory(organization=organization, enabled=True)
    integration = backup if kind == "heartbeat" else other
    url = f"{URL}{integration.pk}/"
    common = {"organization": organization, "integration_id": integration.pk, "integration_type": integration.type}
    alerts = [
        factories.AlertFactory(**common, source_id=str(number), key_hash=str(number))
        for number in range(1 if kind == "heartbeat" else 12)
    ]
    assert "warnings" not in send(api.patch, url, {"name": "renamed"}).json()
    answer = send(api.patch, url, {"enabled": False}).json()
    numbers = [f"#{alert.pk}" for alert in alerts]
    detail = (
        f"Alert {numbers[0]} was open, and closed by disabling it."
        if kind == "heartbeat"
        else f"Alerts {', '.join(numbers[:10])} and 2 more were open, and closed by disabling it."
    )
    assert answer["warnings"] == [{"code": "closes_alerts", "detail": detail}]
    assert not organization.alerts.filter(status="open").exists()
    assert "warnings" not in send(api.patch, url, {"enabled": False}).json()  # nothing was open


@pytest.mark.parametrize("kind", ["heartbeat", "api"])
def test_deleting_warns_of_the_alerts_that_it_closed(api, backup, organization, kind):
    integration = backup if kind == "heartbeat" else factories.ApiIntegrationFactory(organization=organization)
    common = {"organization": organization, "integration_id": integration.pk, "integration_type": integration.type}
    alert = factories.AlertFactory(**common, source_id="1", key_hash="1")
    answer = api.delete(f"{URL}{integration.pk}/")
    assert answer.status_code == 200
    detail = f"Alert #{alert.pk} was open, and closed by deleting it."
    assert answer.json() == {"warnings": [{"code": "closes_alerts", "detail": detail}]}
    assert not organization.alerts.filter(status="open").exists()


def test_deleting_one_without_open_alerts_warns_of_nothing(api, backup):
    answer = api.delete(f"{URL}{backup.pk}/")
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_change_says_in_the_log_who_made_it(api, backup):
    send(api.patch, f"{URL}{backup.pk}/", {"interval_minutes": 7})
    event = backup.events.get(kind="changed")
    assert event.actor is not None
    assert (event.actor.name, event.text) == ("Ines", "Changed: interval (minutes) from 5.0 to 7.0.")


def test_one_that_was_deleted_meanwhile_is_gone(api, backup, now, monkeypatch):
    """Between the look-up of a request and its change, somebody else deletes."""

    def racing(service):
        def late(integration, **fields):
            InboundIntegration.objects.filter(pk=integration.pk).delete()
            return service(integration, **fields)

        return late

    monkeypatch.setattr(views, "update_heartbeat", racing(views.update_heartbeat))
    answer = send(api.patch, f"{URL}{backup.pk}/", {"name": "late"})
    assert (answer.status_code, answer.json()["code"]) == (404, "gone")


# -- the secret URL ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("role", ["Basic", "Send Message", "System Viewer"])
def test_who_only_looks_on_sees_name_and_state_and_no_url(backup, organization, client_for, role):
    viewer = client_for(factories.UserFactory(organization=organization, roles=[role]))
    [listed] = viewer.get(URL).json()["results"]
    response = viewer.get(f"{URL}{backup.pk}/")
    assert (listed["name"], listed["state"], listed["api_url"]) == ("backup", "waiting", None)
    assert response.json()["api_url"] is None
    assert backup.token not in response.content.decode()


def test_rotating_answers_with_the_new_url(api, backup):
    old = api.get(f"{URL}{backup.pk}/").json()["api_url"]
    new = api.post(f"{URL}{backup.pk}/rotate-token/").json()["api_url"]
    assert new != old
    assert api.get(f"{URL}{backup.pk}/").json()["api_url"] == new


# -- lists -------------------------------------------------------------------------------------------------------------
def test_the_list_costs_the_same_for_five_and_for_thirty(api, organization):
    def add(count):
        for _ in range(count):
            factories.HeartbeatFactory(
                organization=organization,
                recipient_users=[factories.UserFactory(organization=organization)],
                recipient_groups=[factories.GroupFactory(organization=organization)],
                bridge=factories.BridgeFactory(organization=organization),
            )

    def cost():
        with CaptureQueriesContext(connection) as captured:
            rows = api.get(URL).json()["results"]
        return len(rows), len(captured)

    add(5)
    cost()  # the first request of a key notes when it was used
    few, queries = cost()
    add(25)
    assert (few, cost()) == (5, (30, queries))


def test_the_list_is_paged(api, organization):
    made = [factories.HeartbeatFactory(organization=organization).pk for _ in range(5)]
    first = api.get(f"{URL}?page_size=3").json()
    second = api.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + second["results"]] == made[::-1]
    assert (first["previous"], second["next"]) == (None, None)


def test_pings_are_newest_first_in_pages_and_of_this_integration_alone(api, backup, now):
    other = factories.HeartbeatFactory(organization=backup.organization)
    times = [now + timedelta(seconds=second) for second in (3, 1, 2, 2, 5)]
    record_pings([Arrival(backup.token, at, source_ip="192.0.2.7", user_agent="curl/8") for at in times])
    record_pings([Arrival(token=other.token, received_at=now)])
    pages, url = [], f"{URL}{backup.pk}/pings/?page_size=2"
    while url:
        page = api.get(url).json()
        pages.append(page["results"])
        url = page["next"]
    assert [len(page) for page in pages] == [2, 2, 1]
    rows = [row for page in pages for row in page]
    assert [row["received_at"] for row in rows] == [f"2026-03-02T12:00:0{second}Z" for second in (5, 3, 2, 2, 1)]
    assert len({row["id"] for row in rows}) == 5
    assert list(rows[0]) == ["id", "received_at", "method", "source_ip", "user_agent"]
    assert rows[0]["user_agent"] == "curl/8"


@pytest.mark.parametrize("query", ["cursor=x", "cursor=%00", "cursor=cD0%3D", "page_size=x", "page_size=-1"])
def test_a_bad_page_is_never_a_fault(api, backup, query):
    for url in (URL, f"{URL}{backup.pk}/pings/"):
        assert api.get(f"{url}?{query}").status_code in {200, 400, 404}


# -- maintenance windows -----------------------------------------------------------------------------------------------
@pytest.fixture
def window(backup):
    return {
        "name": "Upgrade",
        "starts_at": "2026-03-02T12:00:00Z",
        "ends_at": "2026-03-02T13:00:00Z",
        "integrations": [backup.pk],
    }


WRONG_TIMES = [
    None,
    "",
    "soon",
    5,
    True,
    [],
    "\x00",
    "\ud800",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
]
WRONG_WINDOW = {
    "name": ["", None, "x" * 201, "\x00", "\ud800", []],
    "starts_at": [*WRONG_TIMES, "2026-03-02T13:00:00Z"],
    "ends_at": [*WRONG_TIMES, "2026-03-02T12:00:00Z", "9999-12-31T23:59:59Z"],
    "all_integrations": ["perhaps", None, []],
    "integrations": [*WRONG_LISTS, []],
    "applied_at": ["2026-03-02T12:00:00Z"],
}


@pytest.mark.parametrize("field", WRONG_WINDOW)
def test_a_wrong_window_is_named_at_its_field_and_nothing_is_planned(api, window, foreign, field):
    # A start after the end is notified at the end.
    expected = {f"/{field}"} | ({"/ends_at"} if field == "starts_at" else set())
    for wrong in WRONG_WINDOW[field]:
        found = pointers(
            send(api.post, WINDOWS, window | {field: foreign["integrations"] if wrong is FOREIGN else wrong})
        )
        assert {pointer.replace("/0", "") for pointer in found} <= expected, (wrong, found)
    assert not MaintenanceWindow.objects.exists()


def test_a_window_that_is_changed_over_the_api_lets_go_of_what_it_no_longer_covers(api, window, backup, now):
    report = factories.HeartbeatFactory(organization=backup.organization, name="report", now=now)
    made = send(api.post, WINDOWS, window)
    assert made.status_code == 201, made.content
    assert api.get(f"{URL}{backup.pk}/").json()["state"] == "maintenance"

    url = f"{WINDOWS}{made.json()['id']}/"
    assert send(api.patch, url, {"integrations": [report.pk]}).json()["integrations"] == [report.pk]
    freed, held = (api.get(f"{URL}{one.pk}/").json() for one in (backup, report))
    assert (freed["state"], freed["deadline_at"]) == ("waiting", "2026-03-02T12:05:00Z")
    assert (held["state"], held["deadline_at"]) == ("maintenance", "2026-03-02T13:05:00Z")

    send(api.patch, url, {"ends_at": "2026-03-02T12:30:00Z"})
    assert api.get(f"{URL}{report.pk}/").json()["deadline_at"] == "2026-03-02T12:35:00Z"
    assert api.delete(url).status_code == 204
    assert api.get(f"{URL}{report.pk}/").json()["deadline_at"] == "2026-03-02T12:05:00Z"


def test_rotating_keeps_the_old_url_for_overlap_minutes(api, backup, now, monkeypatch):
    old = api.get(f"{URL}{backup.pk}/").json()["api_url"]
    new = api.post(f"{URL}{backup.pk}/rotate-token/", {"overlap_minutes": 2.5}, format="json").json()["api_url"]

    def ping(url):
        return api.post(url.removeprefix("http://127.0.0.1:8000"), {}, format="json").status_code

    assert new != old
    assert [ping(old), ping(new)] == [200, 200]
    assert api.get(f"{URL}{backup.pk}/").json()["ping_count"] == 2
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=150))
    assert [ping(old), ping(new)] == [404, 200]
    assert backup.events.first().text == "The API URL was rotated; the old one works for another 2 minutes 30 seconds."


@pytest.mark.parametrize("fields", [{"overlap_minutes": -1}, {"overlap_minutes": 44_641}, {"overlap": 5}])
def test_an_overlap_has_bounds_and_no_other_name(api, backup, fields):
    answer = api.post(f"{URL}{backup.pk}/rotate-token/", fields, format="json")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(fields))}"
    assert InboundIntegration.objects.get().token == backup.token


# -- labels --------------------------------------------------------------------------------------------------------
def test_tags_description_and_priority_are_kept_and_lists_are_filtered_by_tag(api, good):
    made = send(
        api.post, URL, {**good, "tags": ["Shop", "env:prod"], "description": "Nightly.", "priority": "critical"}
    )
    assert made.status_code == 201, made.content
    found = made.json()
    assert (found["tags"], found["description"], found["priority"]) == (["env:prod", "shop"], "Nightly.", "critical")
    send(api.post, URL, {**good, "name": "other", "tags": ["shopping"]})

    assert [row["name"] for row in api.get(f"{URL}?tag=SHOP").json()["results"]] == ["report"]
    changed = send(api.patch, f"{URL}{found['id']}/", {"priority": None, "tags": []})
    assert (changed.json()["priority"], changed.json()["tags"]) == (None, [])
    assert api.get(f"{URL}?tag=shop").json()["results"] == []


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"tags": ["two words"]}, "/tags"),
        ({"tags": ["x"] * 21}, "/tags"),
        ({"tags": "shop"}, "/tags"),
        ({"priority": "urgent"}, "/priority"),
        ({"description": "x" * 2_001}, "/description"),
    ],
)
def test_labels_beyond_their_bounds_are_named_at_their_field(api, good, wrong, pointer):
    answer = send(api.post, URL, {**good, **wrong})
    assert pointers(answer) == {pointer}


def test_who_sees_names_only_can_neither_see_nor_filter_by_tags(organization, backup, client_for):
    viewer = client_for(factories.UserFactory(organization=organization))
    assert viewer.get(f"{URL}{backup.pk}/").json()["tags"] is None
    assert viewer.get(f"{URL}?tag=shop").status_code == 400


def test_a_window_by_tag_is_planned_over_the_api(api, now):
    times = {"starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat()}
    made = send(api.post, WINDOWS, {"name": "work", "tags": ["Shop"], **times})
    assert made.status_code == 201, made.content
    assert made.json()["tags"] == ["shop"]
    assert pointers(send(api.post, WINDOWS, {"name": "nothing", **times})) == {"/integrations"}
