"""What holds for every resource and every route of the management API, so that a new one cannot forget it.

ETags, If-Match, PUT of what GET returned, query parameters, filters, times, links, and the OpenAPI document.
"""

import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from rest_framework import serializers

from accounts.api import group_contacts
from accounts.models.audit import AuditEntry
from accounts.models.contact_methods import ContactMethod
from accounts.services.api_keys import create_api_key
from heartbeat_project.kernel.api import PAGED_BY, InstantField, NameFilter, NewestFirst
from heartbeat_project.urls import router
from integrations.maintenance.windows import create_window
from integrations.models.events import InboundEvent
from tests import factories
from tests.factories import WHEN
from tests.factories.shifts import make_absence, make_rotation

API = "/api/v1"
SAFE = {"get"}
# A change of each resource, by PATCH, and a column that a ping, a use or a reading changes by itself.
CHANGES: dict[str, dict[str, Any]] = {
    "integrations": {"interval_minutes": 7},
    "maintenance-windows": {"name": "Another"},
    "bridges": {"access_code": "1"},
    "escalation-policies": {"roles": [{"role": "manager"}]},
    "response-plays": {"description": "Another"},
    "groups": {"members": []},
    "organizations": {"bundle_seconds": 7},
    "shifts": {"people_at_once": 2},
    "out-of-office": {"ends_at": "2026-03-05T00:00:00Z"},
    "users": {"time_zone": "Europe/Berlin"},
    "roles": {"entitlements": []},
    "contact-methods": {"delay_minutes": 3},
    group_contacts.PREFIX: {"label": "Another"},
}
# Resources that no request changes as a whole: an alert is changed by its actions, a key is revoked, the log is only read.
NOT_CHANGED = {"alerts", "api-keys", "audit-log"}
# Lists that are not filtered by name, because nothing in them has one.
WITHOUT_NAMES = {"alerts", "audit-log", "out-of-office", "contact-methods", group_contacts.PREFIX}


class Route(NamedTuple):
    """One method at one address of the router."""

    prefix: str
    template: str  # below API, with {group}, {id} and {event}
    method: str
    action: str
    view: Any
    detail: bool
    paginator: Any

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.template}"

    @property
    def parameters(self) -> set[str]:
        """The query parameters that the route names."""
        named = set(self.view.parameters.get(self.action, ()))
        return named | {*PAGED_BY, *self.view.filters().fields} if self.action == "list" else named


def routes() -> Iterator[Route]:
    for prefix, view, _ in router.registry:
        below = prefix.replace("(?P<group>[0-9]{1,18})", "{group}")
        for route in router.get_routes(view):
            template = route.url.replace("^", "").replace("$", "")
            template = template.replace("{prefix}", below).replace("{lookup}", "{id}")
            template = template.replace("(?P<event>[0-9]{{1,18}})", "{event}")
            template = "/" + template.replace("{trailing_slash}", "/")
            paginator = route.initkwargs.get("pagination_class", view.pagination_class)
            for method, action in router.get_method_map(view, route.mapping).items():
                yield Route(prefix, template, method, action, view, route.detail, paginator)


ROUTES = list(routes())
CHANGING = [route for route in ROUTES if route.method not in SAFE]
DETAILS = {route.prefix: route.template for route in ROUTES if route.action == "retrieve"}
LISTS = {route.prefix: route for route in ROUTES if route.action == "list"}
PUTS = sorted(route.prefix for route in ROUTES if route.method == "put")


DOCUMENT = json.loads(
    OpenApiJsonRenderer().render(SchemaGenerator(api_version="1").get_schema(request=None, public=True))
)


def documented(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = DOCUMENT["paths"][f"{API}{route.template}"][route.method]
    return operation


class Everything:
    """An organization with one object of each resource, and the client of its Owner."""

    def __init__(self, client_for) -> None:
        organization = factories.OrganizationFactory()
        self.owner = owner = factories.UserFactory(organization=organization, roles=["Owner"])
        self.other = other = factories.UserFactory(organization=organization, name="Ben")
        # Names in an order that is not the order in which they are given.
        later, sooner = (factories.GroupFactory(organization=organization, name=name) for name in ("Z", "A"))
        self.in_order = [later.pk, sooner.pk]
        self.team = factories.GroupFactory(organization=organization, primary=[owner, other])
        for position, inner in enumerate([later, sooner]):
            self.team.nestings.create(child=inner, position=position)
        self.heartbeat = factories.HeartbeatFactory(
            organization=organization,
            recipient_groups=[later, sooner],
            recipient_users=[other, owner],
            bridge=factories.BridgeFactory(organization=organization),
        )
        covered = factories.HeartbeatFactory(organization=organization)
        self.monitoring = factories.ApiIntegrationFactory(organization=organization)
        self.event = InboundEvent.objects.create(
            integration=self.monitoring, type="api", state="read", received_at=WHEN, raw=b'{"title": "Disk"}', size=17
        )
        window = {"starts_at": WHEN, "ends_at": WHEN + timedelta(hours=1), "now": WHEN}
        play = factories.PlayFactory(organization=organization)
        play.tiers.create(offset_minutes=0).groups.add(later)
        self.objects = {
            "integrations": self.heartbeat,
            "maintenance-windows": create_window(organization, name="Upgrade", integrations=[covered], **window),
            "alerts": factories.AlertFactory(organization=organization, integration_id=self.heartbeat.pk),
            "bridges": self.heartbeat.bridge,
            "escalation-policies": factories.PolicyFactory(organization=organization),
            "response-plays": play,
            "organizations": organization,
            "groups": self.team,
            "shifts": make_rotation(self.team, primary=[owner, other]),
            "out-of-office": make_absence(owner, other, starts_at=WHEN, ends_at=WHEN + timedelta(days=1)),
            "users": other,
            "roles": organization.roles.create(name="Custom", entitlements=["AuditTrail_View"]),
            "contact-methods": other.contact_methods.create(
                label="Webhook", kind=ContactMethod.Kind.WEBHOOK, address="https://hooks.example.com/s3cret", position=3
            ),
            group_contacts.PREFIX: self.team.contact_methods.create(
                label="Channel", kind=ContactMethod.Kind.CHAT, address="https://hooks.slack.com/services/T/B/s3cret"
            ),
            "api-keys": create_api_key(owner, name="theirs", now=WHEN)[0],
            "audit-log": AuditEntry.objects.filter(organization=organization)[0],
        }
        self.api = client_for(owner)

    def address(self, template: str, prefix: str) -> str:
        about_events = "{event}" in template or template.endswith("/test-mapping/")
        pk = self.monitoring.pk if about_events else self.objects[prefix].pk
        return API + template.format(group=self.team.pk, id=pk, event=self.event.pk)

    def detail(self, prefix: str) -> str:
        return self.address(DETAILS[prefix], prefix)

    def call(self, route: Route, query: str = "", body: Any = None, **headers: Any) -> Any:
        address = f"{self.address(route.template, route.prefix)}{query}"
        if route.method in SAFE:
            return self.api.get(address, headers=headers)
        return getattr(self.api, route.method)(address, body or {}, format="json", headers=headers)


@pytest.fixture
def everything(db, client_for):
    return Everything(client_for)


def codes(response: Any) -> set[tuple[str, str]]:
    return {(error["pointer"], error["code"]) for error in response.json().get("errors", [])}


def test_the_tables_know_every_resource(everything):
    assert set(everything.objects) == set(DETAILS) == {prefix for prefix, _, _ in router.registry}
    assert set(CHANGES) == set(PUTS) == set(DETAILS) - NOT_CHANGED


# -- query parameters ------------------------------------------------------------------------------------------------


def test_every_change_refuses_a_field_that_it_does_not_name(everything):
    for route in CHANGING:
        if route.method != "delete":
            response = everything.call(route, body={"no_such_field": 1})

            assert response.status_code == 400, str(route)
            assert ("/no_such_field", "unknown_field") in codes(response), str(route)


def test_a_parameter_that_is_given_twice_is_refused_instead_of_half_ignored(everything):
    for prefix, route in LISTS.items():
        response = everything.call(route, "?page_size=1&page_size=2")

        assert (response.status_code, codes(response)) == (400, {("/page_size", "given_twice")}), prefix


def test_a_page_size_that_is_no_number_above_zero_is_refused_and_a_large_one_is_the_maximum(everything):
    for size in ("0", "00", "-1", "x", "1.5", "", "²"):
        response = everything.api.get(f"{API}/groups/", {"page_size": size})
        assert (response.status_code, codes(response)) == (400, {("/page_size", "invalid")}), size
    for size in ("1", "200", "201", "9" * 5_000):
        assert everything.api.get(f"{API}/groups/", {"page_size": size}).status_code == 200


def test_the_list_of_resources_has_links_from_the_base_url_and_refuses_parameters(everything, settings):
    settings.BASE_URL = "https://heartbeat.example.org"

    links = everything.api.get(f"{API}/").json()
    refused = everything.api.get(f"{API}/?no_such_parameter=1")

    assert links["groups"] == "https://heartbeat.example.org/api/v1/groups/"
    of_the_router = {prefix for prefix, _, _ in router.registry if prefix != group_contacts.PREFIX}
    assert set(links) == {*of_the_router, "outbound-integrations", "usage"}
    assert (refused.status_code, codes(refused)) == (400, {("/no_such_parameter", "unknown_parameter")})


# -- filters ---------------------------------------------------------------------------------------------------------


def test_what_has_a_name_is_found_by_it_in_upper_and_lower_case(everything):
    assert {
        prefix for prefix, route in LISTS.items() if not issubclass(route.view.filters, NameFilter)
    } == WITHOUT_NAMES
    for prefix in set(LISTS) - WITHOUT_NAMES:
        row, address = everything.objects[prefix], everything.address(LISTS[prefix].template, prefix)

        for name in (row.name, row.name.upper(), row.name.lower()):
            rows = everything.api.get(address, {"name": name}).json()["results"]
            assert [found["id"] for found in rows] == [row.pk], prefix
        for name in ("No such name", row.name[:-1]):
            assert everything.api.get(address, {"name": name}).json()["results"] == [], prefix


VALID = {
    serializers.BooleanField: "true",
    serializers.IntegerField: "1",
    InstantField: "2026-03-02T12:00:00Z",
    serializers.CharField: "x",
}
FILTERS = [(route, name, field) for route in LISTS.values() for name, field in route.view.filters().fields.items()]


def test_every_filter_is_understood(everything):
    for route, name, field in FILTERS:
        one = [value for kind, value in VALID.items() if isinstance(field, kind)][:1]

        for value in getattr(field, "choices", one):
            response = everything.api.get(everything.address(route.template, route.prefix), {name: value})
            assert response.status_code == 200, (str(route), name, value, response.content)


FOUND = {
    "type=heartbeat": {"busy", "off", "upkeep"},
    "type=email": set(),
    "state=healthy": {"busy"},
    "state=disabled": {"off"},
    "state=maintenance": {"upkeep"},
    "state=waiting": set(),
    "enabled=false": {"off"},
    "enabled=true": {"busy", "upkeep"},
    "search=BUS": {"busy"},
    "enabled=true&search=u": {"busy", "upkeep"},
    "name=Busy&state=healthy": {"busy"},
}


def test_integrations_are_filtered_by_type_state_and_name(client_for, organization, now):
    owner = factories.UserFactory(organization=organization, roles=["Owner"])
    busy, _, upkeep = (
        factories.HeartbeatFactory(organization=organization, name=name, enabled=name != "off")
        for name in ("busy", "off", "upkeep")
    )
    type(busy.heartbeat).objects.filter(pk=busy.pk).update(state="healthy")
    far = {"starts_at": WHEN, "ends_at": WHEN + timedelta(days=36_500), "now": now}
    create_window(organization, name="Upgrade", integrations=[upkeep], **far)

    api = client_for(owner)

    for query, names in FOUND.items():
        rows = api.get(f"{API}/integrations/?{query}").json()["results"]
        assert {row["name"] for row in rows} == names, query


# -- times -----------------------------------------------------------------------------------------------------------


NAIVE = ["2026-03-02T12:00:00", "2026-03-02 12:00", "2026-03-02"]


def is_time(schema: dict[str, Any]) -> bool:
    return schema.get("format") == "date-time"


def times_in_body(route: Route) -> list[str]:
    """The fields of the body of a request that are times, by the OpenAPI document."""
    content = documented(route).get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return [name for name, field in schema.get("properties", {}).items() if is_time(field)]


def times_in_query(route: Route) -> list[str]:
    parameters = documented(route).get("parameters", [])
    return [parameter["name"] for parameter in parameters if is_time(parameter["schema"])]


BODIES = [(route, name) for route in CHANGING for name in times_in_body(route)]
QUERIES = [(route, name) for route in ROUTES for name in times_in_query(route)]


def test_the_times_that_are_known_to_be_taken_are_among_those_that_are_tried():
    assert {("shifts", "starts_at"), ("out-of-office", "ends_at"), ("alerts", "until")} <= {
        (route.prefix, name) for route, name in BODIES
    }
    assert {("alerts", "opened_before"), ("groups", "at"), ("integrations", "at")} <= {
        (route.prefix, name) for route, name in QUERIES
    }


@pytest.mark.parametrize("naive", NAIVE)
def test_every_time_in_a_body_needs_an_offset(everything, naive):
    for route, name in BODIES:
        response = everything.call(route, body={name: naive})

        assert response.status_code == 400, str(route)
        assert (f"/{name}", "offset") in codes(response), str(route)


@pytest.mark.parametrize("naive", NAIVE)
def test_every_time_in_a_query_needs_an_offset(everything, naive):
    for route, name in QUERIES:
        address = everything.address(route.template, route.prefix)
        refused = everything.api.get(address, {name: naive})

        assert (refused.status_code, codes(refused)) == (400, {(f"/{name}", "offset")}), str(route)
        assert everything.api.get(address, {name: "2026-10-02T12:00:00+02:00"}).status_code == 200, str(route)


def test_a_time_with_another_offset_is_answered_in_utc(everything):
    body = {"name": "x", "all_integrations": True}
    times = {"starts_at": "2026-03-02T12:00:00+05:30", "ends_at": "2026-03-02T12:00:00-08:00"}

    answer = everything.api.post(f"{API}/maintenance-windows/", body | times, format="json").json()

    assert (answer["starts_at"], answer["ends_at"]) == ("2026-03-02T06:30:00Z", "2026-03-02T20:00:00Z")


def test_every_time_that_is_answered_is_in_utc(everything):
    times = []
    for prefix in DETAILS:
        answer = everything.api.get(everything.detail(prefix)).json()
        times += [value for name, value in answer.items() if name.endswith("_at") and value is not None]

    assert len(times) >= len({"created_at", "starts_at", "ends_at", "opened_at"})
    assert all(time.endswith("Z") for time in times)


# -- links -----------------------------------------------------------------------------------------------------------


def test_every_page_is_made_by_the_pagination_whose_links_begin_with_the_base_url():
    paginators = {route.paginator for route in ROUTES if route.paginator is not None}
    assert len(paginators) > 1
    assert all(issubclass(paginator, NewestFirst) for paginator in paginators)


@pytest.mark.parametrize("page", ["groups/", "alerts/{alert}/timeline/"])
def test_links_to_other_pages_begin_with_the_base_url_and_lead_there(everything, settings, page):
    settings.BASE_URL = "https://heartbeat.example.org"
    settings.ALLOWED_HOSTS = ["inside.internal"]
    alert = everything.objects["alerts"]
    for number in range(3):
        alert.timeline.create(at=WHEN + timedelta(minutes=number), kind="replied", text=str(number))
    host = {"HTTP_HOST": "inside.internal"}
    address = f"{API}/{page.format(alert=alert.pk)}?page_size=1"

    first = everything.api.get(address, **host).json()
    second = everything.api.get(first["next"].removeprefix(settings.BASE_URL), **host).json()
    back = everything.api.get(second["previous"].removeprefix(settings.BASE_URL), **host).json()

    for link in (first["next"], second["next"], second["previous"]):
        assert link.startswith(f"https://heartbeat.example.org{address.partition('?')[0]}?cursor=")
        assert link.endswith("&page_size=1")
    assert first["previous"] is None
    assert back["results"] == first["results"] != second["results"]


# -- ETag and If-Match -----------------------------------------------------------------------------------------------


def etag(everything, prefix) -> str:
    return everything.api.get(everything.detail(prefix))["ETag"]


def test_every_resource_has_an_etag_that_stays_while_nobody_changes_it(everything):
    for prefix in DETAILS:
        first, second = everything.api.get(everything.detail(prefix)), everything.api.head(everything.detail(prefix))

        assert first["ETag"] == second["ETag"], prefix
        assert first["ETag"].startswith('"')
        assert "ETag" not in everything.call(LISTS[prefix])


@pytest.mark.parametrize("prefix", DETAILS)
def test_every_change_with_another_etag_is_a_412_and_changes_nothing(everything, prefix):
    """The body is that of a valid change where there is one, so that the ETag alone can be what is refused."""
    before = etag(everything, prefix)
    for route in CHANGING:
        if route.prefix != prefix:
            continue
        body = CHANGES[prefix] if route.action == "partial_update" else {}

        response = everything.call(route, body=body, **{"If-Match": '"0123456789abcdef"'})

        assert etag(everything, prefix) == before, str(route)
        if not route.detail and response.status_code == 400:
            continue  # a body without fields is refused before
        found = response.status_code, response["Content-Type"], response.json()["code"]
        assert found == (412, "application/problem+json", "precondition_failed"), str(route)


@pytest.mark.parametrize("page", ["groups", "bridges"])
def test_a_new_object_has_no_etag_that_could_match(everything, page):
    body = {"name": "New", "meeting_url": "https://meet.example.com/x"} if page == "bridges" else {"name": "New"}

    refused = everything.api.post(f"{API}/{page}/", body, format="json", headers={"If-Match": '"x"'})
    made = everything.api.post(f"{API}/{page}/", body, format="json")

    assert (refused.status_code, made.status_code) == (412, 201)
    assert made["ETag"] == everything.api.get(f"{API}/{page}/{made.json()['id']}/")["ETag"]


@pytest.mark.parametrize("prefix", PUTS)
def test_of_two_changes_with_one_etag_the_second_is_refused(everything, prefix):
    address, headers = everything.detail(prefix), {"If-Match": etag(everything, prefix)}

    first = everything.api.patch(address, CHANGES[prefix], format="json", headers=headers)
    second = everything.api.patch(address, CHANGES[prefix], format="json", headers=headers)

    assert (first.status_code, second.status_code) == (200, 412), first.content
    assert first["ETag"] == etag(everything, prefix) != headers["If-Match"]


@pytest.mark.parametrize("prefix", sorted(set(DETAILS) - {"alerts", "audit-log", "organizations"}))
def test_what_may_be_deleted_is_deleted_with_its_etag_alone(everything, prefix):
    if prefix == "bridges":
        everything.heartbeat.bridge = None
        everything.heartbeat.save()
    if prefix == "groups":
        everything.objects["shifts"].delete()
    address, headers = everything.detail(prefix), {"If-Match": etag(everything, prefix)}

    refused = everything.api.delete(address, headers={"If-Match": f'"{"0" * 32}"'})
    done = everything.api.delete(address, headers=headers)

    assert refused.status_code == 412
    assert done.status_code in {200, 204}, done.content


def test_if_match_may_name_several_etags_any_state_or_what_a_proxy_made_of_it(everything):
    address, present = everything.detail("groups"), etag(everything, "groups")
    for given in (present, f'"x", {present}', "*", f"W/{present}"):
        response = everything.api.patch(address, {"description": ""}, format="json", headers={"If-Match": given})
        assert response.status_code == 200, given
    for given in ("", "x", '"', "W/", '"x" "y"', present[1:-1], f"{present[:-1]}x"):
        response = everything.api.patch(address, {"description": ""}, format="json", headers={"If-Match": given})
        assert response.status_code == 412, given


def test_a_read_ignores_if_match(everything):
    assert everything.api.get(everything.detail("groups"), headers={"If-Match": '"x"'}).status_code == 200


def test_a_busy_heartbeat_is_edited_with_the_etag_of_before_its_pings(everything, client):
    address = everything.detail("integrations")
    read = everything.api.get(address)
    for _ in range(3):
        assert client.post(f"/Heartbeat/{everything.heartbeat.token}").status_code == 200

    answer = everything.api.put(
        address, read.json() | {"name": "Renamed"}, format="json", headers={"If-Match": read["ETag"]}
    )

    assert (answer.status_code, answer.json()["name"]) == (200, "Renamed"), answer.content
    assert answer.json()["ping_count"] == 3


def test_the_etag_of_an_alert_follows_what_people_do(everything):
    alert = everything.detail("alerts")
    first = {"If-Match": etag(everything, "alerts")}

    taken = everything.api.post(f"{alert}acknowledge/", {}, format="json", headers=first)
    late = everything.api.post(f"{alert}close/", {}, format="json", headers=first)

    assert (taken.status_code, late.status_code) == (200, 412)
    assert everything.api.get(alert).json()["status"] == "open"


def test_ones_own_profile_has_an_etag(everything):
    me = everything.api.get(f"{API}/users/me/")
    headers = {"If-Match": me["ETag"]}

    first = everything.api.patch(f"{API}/users/me/", {"name": "Ana"}, format="json", headers=headers)
    second = everything.api.patch(f"{API}/users/me/", {"name": "Bea"}, format="json", headers=headers)

    assert (first.status_code, second.status_code) == (200, 412)
    assert first["ETag"] == everything.api.get(f"{API}/users/me/")["ETag"] != me["ETag"]
    assert everything.api.get(f"{API}/users/me/").json()["name"] == "Ana"


def test_wrong_codes_count_with_if_match_too(everything, client_for, now):
    """Else nobody would run out of tries."""
    method = everything.owner.contact_methods.create(label="Second", address="second@example.com", position=2)
    address = f"{API}/contact-methods/{method.pk}/"
    method.code_expires_at = now + timedelta(days=36_500)
    method.save()

    for _ in range(6):
        headers = {"If-Match": everything.api.get(address)["ETag"]}
        last = everything.api.post(f"{address}verify/", {"code": "000000"}, format="json", headers=headers)

    assert (last.status_code, last.json()["code"]) == (409, "code_not_usable")


def test_the_etag_does_not_show_what_the_reader_may_not_see(everything, client_for):
    """A short access code could be guessed from a hash that anybody can compute, and a change of it would show."""
    viewer = client_for(factories.UserFactory(organization=everything.owner.organization, roles=["System Viewer"]))
    address = everything.detail("bridges")
    before = viewer.get(address)["ETag"], etag(everything, "bridges")

    everything.api.patch(address, {"access_code": "9999"}, format="json")

    assert viewer.get(address)["ETag"] == before[0]
    assert etag(everything, "bridges") != before[1]


def test_a_secret_that_an_admin_sees_masked_changes_the_etag(everything):
    before = etag(everything, "contact-methods")
    ContactMethod.objects.filter(label="Webhook").update(address="https://hooks.example.com/another-s3cret")

    assert etag(everything, "contact-methods") != before


# -- PUT of what GET returned ----------------------------------------------------------------------------------------


def without_versions(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in {"version", "warnings", "on_call"}}


@pytest.mark.parametrize("prefix", PUTS)
def test_what_get_returned_may_be_put_and_changes_nothing(everything, prefix):
    address = everything.detail(prefix)
    read = everything.api.get(address)

    for _ in range(2):
        answer = everything.api.put(address, read.json(), format="json", headers={"If-Match": read["ETag"]})
        assert answer.status_code == 200, answer.content
        assert answer["ETag"] == read["ETag"]

    again = everything.api.get(address)
    assert without_versions(answer.json()) == without_versions(again.json()) == without_versions(read.json())
    assert again["ETag"] == read["ETag"]


def test_what_is_named_in_an_order_is_returned_in_it(everything):
    """Groups are notified in this order, so that sending back another one would change who is notified first."""
    integration = everything.api.get(everything.detail("integrations")).json()
    team = everything.api.get(everything.detail("groups")).json()
    changed = everything.api.patch(everything.detail("integrations"), {"grace_minutes": 1}, format="json").json()

    assert integration["recipient_groups"] == changed["recipient_groups"] == everything.in_order
    assert integration["recipient_users"] == changed["recipient_users"] == [everything.other.pk, everything.owner.pk]
    assert team["groups"] == everything.in_order


@pytest.mark.parametrize("prefix", PUTS)
def test_a_read_only_field_is_ignored_where_unchanged_and_refused_where_changed(everything, prefix):
    address = everything.detail(prefix)
    view = LISTS[prefix].view()
    view.action = "update"
    fields = view.serializer_class_of(everything.objects[prefix])().get_fields()
    read_only = [name for name, field in fields.items() if field.read_only]
    assert "id" in read_only

    for name in read_only:
        read = everything.api.get(address).json()
        same = everything.api.patch(address, {name: read[name]}, format="json")
        assert same.status_code == 200, (name, same.content)
        read = everything.api.get(address).json()
        for other in ("another", 7_777_777, None, [1], True):
            if other == read[name]:
                continue
            changed = everything.api.patch(address, {name: other}, format="json")
            assert (changed.status_code, codes(changed)) == (400, {(f"/{name}", "read_only")}), (name, other)


def test_what_pings_change_is_refused_if_no_ping_can_have_changed_it(everything):
    address = everything.detail("integrations")
    read = everything.api.get(address).json()

    counts = ({}, {"ping_count": read["ping_count"] + 1}, {"ping_count": -1}, {"ping_count": None})
    for field, count in itertools.product(("state", "last_ping_at", "deadline_at"), counts):
        body = read | {field: "2026-03-02T11:00:00Z"} | count
        response = everything.api.put(address, body, format="json")

        assert response.status_code == 400, (field, count)
        assert (f"/{field}", "read_only") in codes(response), (field, count)


def test_a_time_may_be_spelled_as_a_client_writes_it(everything):
    address = everything.detail("groups")
    for text in ("2026-03-02T11:00:00.000Z", "2026-03-02T12:00:00+01:00", "2026-03-02T11:00:00+00:00"):
        assert everything.api.patch(address, {"created_at": text}, format="json").status_code == 200
    assert everything.api.patch(address, {"created_at": "2026-03-02T11:00:01Z"}, format="json").status_code == 400


@pytest.mark.parametrize("prefix", ["groups", "users", "bridges"])
def test_a_new_object_takes_no_read_only_field(everything, prefix):
    read = everything.api.get(everything.detail(prefix)).json()

    response = everything.api.post(f"{API}/{prefix}/", read | {"name": "Another"}, format="json")

    assert ("/id", "read_only") in codes(response)


def test_what_get_returned_of_oneself_may_be_sent_back(everything):
    me = everything.api.get(f"{API}/users/me/").json()

    same = everything.api.patch(f"{API}/users/me/", me, format="json")
    others = {"is_owner": False, "email": "x@example.com"}
    changed = everything.api.patch(f"{API}/users/me/", me | others, format="json")

    assert (same.status_code, same.json()) == (200, me)
    assert codes(changed) == {("/is_owner", "read_only"), ("/email", "read_only")}


# -- the OpenAPI document --------------------------------------------------------------------------------------------


def names(operation: dict[str, Any], where: str) -> set[str]:
    return {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == where}


def test_the_document_names_the_parameters_and_headers_of_every_route():
    for route in ROUTES:
        operation = documented(route)
        is_about_one = route.detail or route.action in route.view.etag_actions
        is_guarded = route.method not in SAFE and is_about_one

        assert names(operation, "query") == route.parameters, str(route)
        assert names(operation, "header") == ({"If-Match"} if is_guarded else set()), str(route)
        assert ("412" in operation["responses"]) == is_guarded, str(route)
        shows = route.action in {"retrieve", "create", "update", "partial_update", *route.view.etag_actions}
        success = next(answer for code, answer in operation["responses"].items() if code.startswith("2"))
        assert ("ETag" in success.get("headers", {})) == shows, str(route)
