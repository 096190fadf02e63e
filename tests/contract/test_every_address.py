"""What holds for every address below /api/v1/ and every page of the console, by the list of the URL resolver.

A new view is in these tests by itself. What is no part of the management API must be named here, with the reason.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from rest_framework.test import APIClient
from rest_framework.views import APIView

from heartbeat_project.kernel.named_parameters import NamedParameters
from tests import factories
from tests.contract.test_every_resource import DETAILS, DOCUMENT, PUTS, ROUTES, Everything, codes, is_time

API = "api/v1/"
METHODS = ("get", "post", "put", "patch", "delete")
# Addresses below /api/v1/ that do not belong to the management API.
OTHERS = {
    "docs": "a page",
    "twilio_callback": "signed by Twilio, which may add parameters",
    "responses_sms": "signed by Twilio, which may add parameters",
    "responses_voice": "signed by Twilio, which may add parameters",
    "responses_slack": "signed by Slack",
    "responses_mail": "mail servers sign in with a password of their own",
}
# Addresses for everybody, also without a key.
PUBLIC = {"schema"}
# What everybody in an organization may read: of lists, some have only what is one's own.
OPEN = {
    *("", "users/me/", "users/me/calendar/", "users/me/on-call/", "api-keys/", "contact-methods/"),
    *("organizations/", "organizations/{pk}/", "out-of-office/", "roles/", "roles/{pk}/", "users/", "users/{pk}/"),
}
# Names of groups in the paths below /api/v1/, and the objects that they mean.
NESTED = {"group": "groups"}


class Address(NamedTuple):
    """One address below /api/v1/, of the management API."""

    name: str
    path: str  # from the root, with {pk} and other names
    methods: tuple[str, ...]
    view: type[APIView]
    names: tuple[str, ...]

    def url(self, objects: Mapping[str, Any]) -> str:
        """Return the address of one of these objects, by the first part of its path."""
        resource = self.path.removeprefix(API).partition("/")[0]
        ids = {name: objects[NESTED.get(name, resource)].pk for name in self.names}
        if "group" in self.names and "pk" in self.names:
            ids["pk"] = next(row.pk for prefix, row in objects.items() if prefix.startswith("groups/"))
        return reverse(self.name, kwargs=ids)


def patterns(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        path = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if pattern.namespace != "admin":
                yield from patterns(pattern, path)
        else:
            yield path, pattern


EVERYTHING = list(patterns(get_resolver()))


def addresses() -> Iterator[Address]:
    for path, pattern in EVERYTHING:
        if not path.startswith(API) or pattern.name in OTHERS:
            continue
        view = getattr(pattern.callback, "cls", None)
        assert view is not None, f"{path}: no view of the management API, so it must be named in OTHERS"
        actions = getattr(pattern.callback, "actions", None) or [name for name in METHODS if hasattr(view, name)]
        methods = tuple(method for method in METHODS if method in actions)
        plain = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", path).replace("^", "").replace("$", "")
        yield Address(str(pattern.name), plain, methods, view, tuple(pattern.pattern.regex.groupindex))


ADDRESSES = list(addresses())
ABOUT_ONE = [address for address in ADDRESSES if address.names]


@pytest.fixture
def everything(db, client_for):
    return Everything(client_for)


def call(client: Any, method: str, url: str, query: str = "") -> Any:
    if method == "get":
        return client.get(f"{url}{query}")
    return getattr(client, method)(f"{url}{query}", {}, format="json")


def test_the_list_has_what_stands_outside_of_the_router_and_every_route_of_it():
    found = {address.path.removeprefix(API) for address in ADDRESSES}

    assert {"", "schema/", "usage/", "outbound-integrations/", "alerts/export/", "groups/{pk}/on-call/"} <= found
    assert {route.template.removeprefix("/").replace("{id}", "{pk}") for route in ROUTES} <= found
    assert OTHERS.keys() <= {pattern.name for _, pattern in EVERYTHING}
    assert {method for address in ADDRESSES for method in address.methods} == {*METHODS}


def test_every_view_of_the_management_api_names_its_parameters():
    for address in ADDRESSES:
        assert issubclass(address.view, NamedParameters), address.path


def test_every_address_refuses_a_parameter_that_it_does_not_name(everything):
    for address in ADDRESSES:
        for method in address.methods:
            response = call(everything.api, method, address.url(everything.objects), "?no_such_parameter=1")

            found = response.status_code, response["Content-Type"], codes(response)
            expected = {("/no_such_parameter", "unknown_parameter")}
            assert found == (400, "application/problem+json", expected), f"{method} {address.path}"


def test_another_method_is_a_405_with_those_that_there_are(everything):
    for address in ADDRESSES:
        for method in [method for method in METHODS if method not in address.methods][:1]:
            response = call(everything.api, method, address.url(everything.objects))

            assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed"), address.path
            allowed = {name.lower() for name in response["Allow"].split(", ")}
            assert allowed - {"head", "options"} == {*address.methods}, address.path


def test_every_time_in_a_query_of_the_document_needs_an_offset(everything):
    """Also those of addresses outside of the router."""
    tried = 0
    for address in ADDRESSES:
        path = f"/{address.path}".replace("{pk}", "{id}")
        for parameter in DOCUMENT["paths"].get(path, {}).get("get", {}).get("parameters", []):
            if parameter["in"] == "query" and is_time(parameter["schema"]):
                name = parameter["name"]
                url = address.url(everything.objects)
                response = everything.api.get(url, {name: "2026-03-02T12:00:00"})
                assert (response.status_code, codes(response)) == (400, {(f"/{name}", "offset")}), url
                tried += 1
    assert tried > 5


def test_every_address_is_in_the_document_with_its_methods():
    assert {f"/{address.path}".replace("{pk}", "{id}") for address in ADDRESSES} - {*DOCUMENT["paths"]} == {
        f"/{API}",
        f"/{API}schema/",
    }
    for address in ADDRESSES:
        documented = DOCUMENT["paths"].get(f"/{address.path}".replace("{pk}", "{id}"))
        assert documented is None or {*documented} == {*address.methods}, address.path


def test_the_list_of_resources_has_each(everything):
    resources = {address.path.removeprefix(API).removesuffix("/") for address in ADDRESSES if not address.names}
    first = {resource for resource in resources if resource and "/" not in resource} - PUBLIC

    assert {*everything.api.get(f"/{API}").json()} == first


def test_nothing_of_another_organization_is_found_by_its_owner(everything, client_for):
    owner = factories.UserFactory(roles=["Owner"])
    factories.GroupFactory(organization=owner.organization)  # whoever has none may not change shifts at all
    stranger = client_for(owner)
    for address in ABOUT_ONE:
        for method in address.methods:
            response = call(stranger, method, address.url(everything.objects))

            assert (response.status_code, response.json()["code"]) == (404, "not_found"), f"{method} {address.path}"


def test_nothing_is_answered_without_a_key(everything):
    for address in ADDRESSES:
        if address.name not in PUBLIC:
            for method in address.methods:
                response = call(APIClient(), method, address.url(everything.objects))

                assert (response.status_code, response.json()["code"]) == (401, "not_authenticated"), address.path


def test_someone_without_a_role_reads_little_but_about_oneself(everything, client_for):
    nobody = client_for(factories.UserFactory(organization=everything.owner.organization, roles=[]))
    found = {
        address.path.removeprefix(API)
        for address in ADDRESSES
        if address.methods[0] == "get"
        and address.name not in PUBLIC
        and call(nobody, "get", address.url(everything.objects)).status_code == 200
    }
    assert found == OPEN


def test_what_can_be_put_is_what_is_tried_with_what_get_returned():
    can_be_put = {address.path for address in ADDRESSES if "put" in address.methods}

    assert can_be_put == {f"{API}{DETAILS[prefix].removeprefix('/')}".replace("{id}", "{pk}") for prefix in PUTS}


# -- pages -----------------------------------------------------------------------------------------------------------


PAGES = [
    (path, pattern)
    for path, pattern in EVERYTHING
    if not path.startswith((API, "Heartbeat", "heartbeat/", "calendar/", "healthz", "readyz", "metrics"))
]


def test_no_page_shows_or_changes_what_belongs_to_another_organization(everything):
    browser = Client(raise_request_exception=False)
    browser.force_login(factories.UserFactory(roles=["Owner"]))
    ids = {
        "alert_id": everything.objects["alerts"].pk,
        "integration_id": everything.heartbeat.pk,
        "group_id": everything.team.pk,
        "entry_id": everything.objects["out-of-office"].pk,
        "method_id": everything.objects["contact-methods"].pk,
        "key_id": everything.objects["api-keys"].pk,
    }
    tried = 0
    for path, pattern in PAGES:
        names = {*pattern.pattern.regex.groupindex}
        if not names & ids.keys() or "token" in names:
            continue
        assert names <= ids.keys() | {"action"}, f"{path}: which object is meant?"
        for action in ("acknowledge", "close", "remove", "verify", "delete") if "action" in names else ("",):
            named = ids | {"action": action}
            url = reverse(f"console:{pattern.name}", kwargs={name: named[name] for name in names})
            found = browser.get(url).status_code, browser.post(url, {}).status_code
            assert {*found} <= {404, 405}, (url, found)
            assert 404 in found, (url, found)
            tried += 1
    assert tried > 20
