"""What every resource of the management API does with bodies and cursors that nobody sends in good faith."""

from base64 import b64encode

import pytest

from tests import factories

pytestmark = pytest.mark.django_db

API = "/api/v1"


@pytest.fixture
def api(organization, client_for):
    return client_for(factories.UserFactory(organization=organization, roles=["App Admin"]))


@pytest.fixture
def organization():
    return factories.OrganizationFactory()


@pytest.mark.parametrize("body", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000])
def test_json_that_is_nested_too_deeply_is_refused_like_any_that_cannot_be_read(api, body):
    response = api.post(f"{API}/bridges/", body, content_type="application/json")

    assert (response.status_code, response.json()["code"]) == (400, "parse_error")


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
