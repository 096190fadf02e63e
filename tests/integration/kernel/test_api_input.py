"""What every resource of the management API does with bodies and cursors that nobody sends in good faith."""

from base64 import b64encode

import pytest
from rest_framework import serializers

from heartbeat_project.kernel.api import CleanCharField, Strict, WholeNumberField
from heartbeat_project.urls import router
from tests import factories

pytestmark = pytest.mark.django_db

API = "/api/v1"


@pytest.fixture
def api(organization, client_for):
    return client_for(factories.UserFactory(organization=organization, roles=["App Admin"]))


@pytest.mark.parametrize("body", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000])
def test_json_that_is_nested_too_deeply_is_refused_like_any_that_cannot_be_read(api, body):
    response = api.post(f"{API}/bridges/", body, content_type="application/json")

    assert (response.status_code, response.json()["code"]) == (400, "parse_error")


@pytest.mark.parametrize(
    ("page", "body", "pointer"),
    [
        ("contact-methods", {"kind": "email", "windows": [{"days": ["x"] * 100_000}]}, "/windows/0/days"),
        ("roles", {"entitlements": ["x"] * 100_000}, "/entitlements"),
        ("escalation-policies", {"roles": [{"contact_labels": [{}] * 100_000}]}, "/roles/0/contact_labels"),
    ],
)
def test_a_list_that_is_too_long_is_one_error_and_not_one_for_each_item(client_for, organization, page, body, pointer):
    owner = factories.UserFactory(organization=organization, roles=["Owner"])

    response = client_for(owner).post(f"{API}/{page}/", body, format="json")

    found = [(error["pointer"], error["code"]) for error in response.json()["errors"]]
    assert response.status_code == 400
    assert (pointer, "max_length") in found
    assert len(found) < 20


def test_of_very_many_unknown_fields_some_are_named(api):
    response = api.post(f"{API}/bridges/", {f"field{number}": 1 for number in range(50_000)}, format="json")

    assert response.status_code == 400
    assert {error["code"] for error in response.json()["errors"]} == {"unknown_field"}
    assert len(response.json()["errors"]) == 50


@pytest.mark.parametrize("position", ["\0", "2026-99", "x", "1e3", "9" * 5_000])
@pytest.mark.parametrize("page", ["groups/", "alerts/{alert}/timeline/", "alerts/{alert}/notifications/"])
def test_a_cursor_that_names_no_place_is_not_found(api, organization, page, position):
    alert = factories.AlertFactory(organization=organization)
    cursor = b64encode(f"p={position}".encode()).decode()

    response = api.get(f"{API}/{page.format(alert=alert.pk)}", {"cursor": cursor})

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_the_cursors_that_are_given_out_lead_through_all_pages(api, organization):
    for _ in range(5):
        factories.GroupFactory(organization=organization)
    found, url = [], f"{API}/groups/?page_size=2"

    while url:
        page = api.get(url).json()
        found, url = found + [group["id"] for group in page["results"]], page["next"]

    assert len(found) == len(set(found)) == 5
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("page", "field", "row", "missing"),
    [
        ("groups", "members", {"role": "primary"}, "user"),
        ("escalation-policies", "roles", {"wait_minutes": 3}, "role"),
        ("response-plays", "tiers", {"users": []}, "offset_minutes"),
    ],
)
def test_a_row_within_a_patch_is_whole_or_refused(api, organization, page, field, row, missing):
    make = {
        "groups": factories.GroupFactory,
        "escalation-policies": factories.PolicyFactory,
        "response-plays": factories.PlayFactory,
    }[page]
    url = f"{API}/{page}/{make(organization=organization).pk}/"

    response = api.patch(url, {field: [row]}, format="json")

    assert response.status_code == 400
    assert [(error["pointer"], error["code"]) for error in response.json()["errors"]] == [
        (f"/{field}/0/{missing}", "required")
    ]


def test_a_member_within_a_patch_gets_the_role_that_a_new_one_gets(api, organization):
    group = factories.GroupFactory(organization=organization)
    person = factories.UserFactory(organization=organization)

    response = api.patch(f"{API}/groups/{group.pk}/", {"members": [{"user": person.pk}]}, format="json")

    assert response.json()["members"] == [{"user": person.pk, "role": "primary", "position": 0}]


@pytest.mark.parametrize(
    "address",
    [
        "users/?password__startswith=argon2",
        "users/?name__regex=(",
        "alerts/?subject__regex=(.+)(.+)$",
        "groups/?members__user__email=a",
        "shifts/?calendar_url__startswith=https",
        "contact-methods/?address__startswith=a",
        "integrations/?token__startswith=a",
        "integrations/coverage-gaps/?name=a",
        "integrations/upcoming-coverage-gaps/?name=a",
        "users/me/?fields=password",
        "bridges/?ordering=access_code",
        "api-keys/?search=a",
        "out-of-office/?cursor=&group=1",
    ],
)
def test_a_parameter_that_a_resource_does_not_list_is_refused(api, address):
    response = api.get(f"{API}/{address}")

    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert {error["code"] for error in response.json()["errors"]} == {"unknown_parameter"}


def test_an_action_with_a_stray_parameter_is_refused_and_not_done(api, organization):
    alert = factories.AlertFactory(organization=organization)

    response = api.post(f"{API}/alerts/{alert.pk}/acknowledge/?source=script")

    assert {error["code"] for error in response.json()["errors"]} == {"unknown_parameter"}
    alert.refresh_from_db()
    assert alert.acknowledged_at is None


@pytest.mark.parametrize("number", ["9" * 19, "9" * 30, "9" * 5_000, "-1", "x"])
def test_a_number_that_is_no_id_is_refused_in_queries_and_bodies_and_found_at_no_path(api, organization, number):
    for address in ("shifts/?group=", "out-of-office/?user=", "contact-methods/?user=", "alerts/?integration="):
        response = api.get(f"{API}/{address}{number}")
        assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json"), address
    for address in ("alerts/{}/", "groups/{}/", "groups/{}/on-call/", "groups/{}/contacts/", "integrations/{}/pings/"):
        assert api.get(f"{API}/{address.format(number)}").status_code == 404, address
    values = [number, *([int(number)] if number.isascii() and number.isdigit() and len(number) < 4_000 else [])]
    for value in values:
        for body in (
            {"name": "G", "members": [{"user": value}]},
            {"name": "G", "members": [{"user": 1, "position": value}]},
            {"name": "G", "groups": [value]},
        ):
            response = api.post(f"{API}/groups/", body, format="json")
            assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json"), body
            assert len(response.content) < 1_000
    raw = f'{{"name": "G", "groups": [{"9" * 5_000}]}}'
    assert api.post(f"{API}/groups/", raw, content_type="application/json").status_code == 400


def test_more_parameters_than_anybody_needs_are_a_problem_document(api):
    response = api.get(f"{API}/alerts/?" + "&".join(f"a{number}=1" for number in range(1_001)))

    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


def posted(api, page, body):
    response = api.post(f"{API}/{page}/", body, content_type="application/json")
    assert response["Content-Type"] == "application/problem+json", response.content
    return response


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9" * 5_000])
@pytest.mark.parametrize("name", ["name", "no_such_field"])
def test_a_number_beyond_all_numbers_is_refused_wherever_it_stands(api, name, number):
    response = posted(api, "bridges", f'{{"{name}": [{{"a": {number}}}]}}')

    assert (response.status_code, response.json()["code"]) == (400, "parse_error")


@pytest.mark.parametrize("value", ["1", "1e30", "1.5", "true", "[]", '["a"]', "{}", "1" + "0" * 400])
@pytest.mark.parametrize(
    ("page", "body", "pointer"),
    [
        ("bridges", '{"name": %s}', "/name"),
        ("bridges", '{"name": "b", "meeting_url": %s}', "/meeting_url"),
        ("groups", '{"name": "g", "description": %s}', "/description"),
        ("contact-methods", '{"kind": "email", "windows": [{"days": ["mo"], "starts": %s}]}', "/windows/0/starts"),
        (
            "escalation-policies",
            '{"roles": [{"role": "primary", "contact_labels": [%s]}]}',
            "/roles/0/contact_labels/0",
        ),
    ],
)
def test_what_is_no_text_is_refused_where_text_is_expected(client_for, organization, page, body, pointer, value):
    owner = factories.UserFactory(organization=organization, roles=["Owner"])

    response = posted(client_for(owner), page, body % value)

    assert response.status_code == 400
    assert pointer in [error["pointer"] for error in response.json()["errors"]]


@pytest.mark.parametrize("text", ["\\ud800", "a\\u0000b"])
def test_text_that_cannot_be_stored_is_refused_at_its_field(api, text):
    for body, pointer in (
        ('{"name": "%s"}', "/name"),
        ('{"name": "b", "meeting_url": "https://example.org/%s"}', "/meeting_url"),
    ):
        response = posted(api, "bridges", body % text)
        assert response.status_code == 400
        assert pointer in [error["pointer"] for error in response.json()["errors"]]


@pytest.mark.parametrize("body", ['{"name": "a", "name": "b"}', '{"name": "a", "x": {"\\ud800": 1, "\\ud800": 2}}'])
def test_a_name_that_is_given_twice_is_refused(api, body):
    response = posted(api, "bridges", body)

    assert (response.status_code, response.json()["code"]) == (400, "parse_error")
    assert "twice" in response.json()["detail"]


def test_every_text_that_the_api_takes_is_judged_so():
    def below(kind):
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    loose = [
        f"{kind.__module__}.{kind.__qualname__}.{name}"
        for kind in set(below(serializers.Serializer))
        if not kind.__module__.startswith(("rest_framework", "drf_spectacular", "tests"))
        if issubclass(kind, Strict)
        for name, field in kind().get_fields().items()
        for one in (field, getattr(field, "child", None))
        if isinstance(one, serializers.CharField) and not one.read_only and not isinstance(one, CleanCharField)
    ]

    assert loose == []


@pytest.mark.parametrize("number", ["5", "five", True, 5.5])
@pytest.mark.parametrize(
    ("page", "body", "pointer"),
    [
        ("escalation-policies/", lambda number: {"name": "Nights", "repeats": number}, "/repeats"),
        (
            "escalation-policies/",
            lambda number: {"roles": [{"role": "primary", "retries": number}]},
            "/roles/0/retries",
        ),
        ("groups/", lambda number: {"name": "Team", "members": [{"user": number}]}, "/members/0/user"),
        ("integrations/", lambda number: {"type": "api", "storm_per_minute": number}, "/storm_per_minute"),
        ("contact-methods/", lambda number: {"kind": "email", "position": number}, "/position"),
    ],
)
def test_a_whole_number_is_a_json_number(client_for, organization, page, body, pointer, number):
    owner = factories.UserFactory(organization=organization, roles=["Owner", "App Admin"])

    response = client_for(owner).post(f"{API}/{page}", body(number), format="json")

    assert response.status_code == 400
    assert (pointer, "invalid") in [(error["pointer"], error["code"]) for error in response.json()["errors"]]


def test_no_field_of_a_body_is_a_plain_integer_field():
    """Such a field of Django REST framework takes numbers in text."""

    def fields(serializer, path):
        for name, field in serializer.fields.items():
            inner = getattr(field, "child", field)
            if isinstance(inner, serializers.Serializer):
                yield from fields(inner, f"{path}.{name}")
            elif not field.read_only:
                yield f"{path}.{name}", inner

    found = {}
    for prefix, view, _ in router.registry:
        for kind in (view.serializer_class, *getattr(view.serializer_class, "__subclasses__", list)()):
            if kind is not None and hasattr(kind(), "fields"):
                found.update(fields(kind(), prefix))
    assert [path for path, field in found.items() if type(field) is serializers.IntegerField] == []
    whole = {path for path, field in found.items() if type(field) is WholeNumberField}
    assert whole >= {"escalation-policies.repeats", "escalation-policies.roles.retries", "shifts.rotates_count"}
