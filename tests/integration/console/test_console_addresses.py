"""Pages of the console with numbers and characters in their addresses and forms that nobody sends in good faith."""

import pytest

from tests import factories

pytestmark = pytest.mark.django_db

HUGE = ["9" * 19, "9" * 30, "9" * 5_000, "-1", "1_0", "٣", "x", ""]


@pytest.fixture
def ana():
    return factories.UserFactory(name="Ana", roles=["App Admin"])


@pytest.fixture
def browser(client, ana):
    client.force_login(ana)
    return client


@pytest.mark.parametrize("number", HUGE)
def test_a_member_by_a_number_that_is_no_id_is_not_found(browser, ana, number):
    group = factories.GroupFactory(organization=ana.organization, primary=[ana])

    for action in ("up", "role", "remove"):
        response = browser.post(
            f"/groups/{group.pk}/members/{action}/", {"user": number, "role": "primary", "to": "secondary"}
        )
        assert response.status_code == 302, (action, response.status_code)
    assert list(group.members.values_list("user_id", "role")) == [(ana.pk, "primary")]


@pytest.mark.parametrize("number", ["9" * 19, "9" * 30, "9" * 5_000])
def test_an_object_by_a_number_that_is_no_id_does_not_exist(browser, number):
    for address in (
        f"/alerts/{number}/",
        f"/alerts/{number}/progress/",
        f"/groups/{number}/",
        f"/heartbeats/{number}/",
        f"/heartbeats/{number}/who-would-be-notified/",
        f"/profile/contact-methods/{number}/",
        f"/r/token/{number}",
    ):
        assert browser.get(address).status_code in {404, 410}, address
    for address in (
        f"/alerts/{number}/acknowledge/",
        f"/groups/{number}/members/add/",
        f"/groups/{number}/contacts/{number}/remove/",
        f"/on-call/out-of-office/{number}/delete/",
        f"/profile/api-keys/{number}/revoke/",
        f"/profile/contact-methods/{number}/remove/",
        f"/heartbeats/{number}/test-paging/",
    ):
        assert browser.post(address).status_code == 404, address


@pytest.mark.parametrize("number", HUGE)
def test_a_number_in_a_query_that_is_none_is_passed_over(browser, number):
    for address in (
        f"/alerts/?before={number}&heartbeats={number}&q={number}&tab={number}",
        f"/alerts/list/?before={number}&q={number}",
        f"/heartbeats/panel/?heartbeats={number}",
        f"/heartbeats/coverage-gaps/?page={number}",
        f"/alerts/new/recipients/?q={number}",
    ):
        assert browser.get(address).status_code == 200, address


def test_characters_that_no_text_holds_are_refused_in_every_query_and_found_at_no_path(browser, ana, client_for):
    api = client_for(ana)

    for address in (
        "/alerts/?q=%00",
        "/alerts/?tab=%00",
        "/alerts/new/recipients/?q=a%00",
        "/login/?next=%00",
        "/?%00",
    ):
        response = browser.get(address)
        assert response.status_code == 400, address
        assert "that text cannot contain" in response.content.decode()
    for address in ("/api/v1/alerts/?status=%00", "/api/v1/alerts/?cursor=%00", "/api/v1/users/?page_size=%00"):
        response = api.get(address)
        assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json"), address
        assert response.json()["code"] == "bad_request"
    for address in ("/r/%00", "/calendar/%00.ics", "/%00", "/api/v1/alerts/%00/"):
        assert api.get(address).status_code == 404, address
