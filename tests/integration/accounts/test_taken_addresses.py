"""An organization does not learn who is a customer of the same installation."""

import logging

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models.users import User
from accounts.services.taken_addresses import MAX_REFUSALS
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
ANSWER = "This address cannot be used here. Ask the operator."


@pytest.fixture(autouse=True)
def fresh_counts():
    cache.clear()


@pytest.fixture
def admin(organization):
    return UserFactory(organization=organization, roles=["App Admin"])


@pytest.fixture
def theirs():
    """Somebody of another organization."""
    return UserFactory(email="zoe@customer.example.com", is_active=False)


@pytest.fixture
def api(client_for, admin):
    return client_for(admin)


def create(api, email):
    return api.post("/api/v1/users/", {"name": "New", "email": email}, format="json")


def in_admin(admin, path, email):
    browser = Client()
    browser.force_login(admin)
    fields = {"name": "New", "email": email, "kind": "standard", "time_zone": "UTC", "is_active": "on"}
    return browser.post(f"/admin/accounts/user/{path}", fields)


@pytest.mark.parametrize("written", ["zoe@customer.example.com", " Zoe@Customer.Example.COM "])
@pytest.mark.parametrize("over", ["api", "api change", "admin", "admin change"])
def test_the_answer_names_no_user_and_the_log_says_who_tried(api, admin, organization, theirs, caplog, over, written):
    own = UserFactory(organization=organization)
    with caplog.at_level(logging.WARNING, logger="accounts"):
        if over == "api":
            answer = create(api, written)
        elif over == "api change":
            answer = api.patch(f"/api/v1/users/{own.pk}/", {"email": written}, format="json")
        else:
            answer = in_admin(admin, "add/" if over == "admin" else f"{own.pk}/change/", written)
    text = answer.content.decode()
    assert ANSWER in text
    assert "already" not in text
    assert answer.status_code == (400 if over.startswith("api") else 200)
    assert f"Organization {organization.pk} tried" in caplog.text
    assert "zoe" not in caplog.text
    assert User.objects.filter(email=theirs.email).count() == 1


def test_of_ones_own_organization_one_may_know_it_and_it_does_not_count(api, organization):
    own = UserFactory(organization=organization)
    for _ in range(MAX_REFUSALS + 1):
        answer = create(api, own.email)
        assert answer.json()["errors"][0]["detail"] == "Another user of your organization has this e-mail address."
    assert create(api, "new@example.com").status_code == 201


@pytest.mark.parametrize("over", ["api", "api change", "admin"])
def test_after_some_refusals_a_free_address_is_answered_like_a_taken_one(api, admin, organization, theirs, over):
    own = UserFactory(organization=organization)
    for _ in range(MAX_REFUSALS):
        assert ANSWER in create(api, theirs.email).content.decode()
    for email in (theirs.email, "free@example.com"):
        if over == "api":
            answer = create(api, email)
            assert answer.status_code == 429
        elif over == "api change":
            answer = api.patch(f"/api/v1/users/{own.pk}/", {"email": email}, format="json")
            assert answer.status_code == 429
        else:
            assert in_admin(admin, "add/", email).status_code == 302  # back to the form, with the reason
        assert not User.objects.filter(email="free@example.com").exists()
    # What needs no new address goes on, and so do others.
    assert api.patch(f"/api/v1/users/{own.pk}/", {"name": "Renamed"}, format="json").status_code == 200
    assert UserFactory(email="other@example.com").pk


@pytest.mark.parametrize("page", ["add", "change"])
def test_refusals_in_the_admin_count_though_they_take_everything_else_back(admin, organization, theirs, page):
    own = UserFactory(organization=organization)
    path = "add/" if page == "add" else f"{own.pk}/change/"
    for _ in range(MAX_REFUSALS):
        assert ANSWER in in_admin(admin, path, theirs.email).content.decode()
    for email in (theirs.email, "free@example.com"):
        assert in_admin(admin, path, email).status_code == 302  # back to the form, with the reason
        assert not User.objects.filter(email="free@example.com").exists()


def test_after_some_refusals_people_can_still_be_deactivated(api, admin, organization, theirs):
    own = UserFactory(organization=organization)
    for _ in range(MAX_REFUSALS):
        create(api, theirs.email)
    browser = Client()
    browser.force_login(admin)
    fields = {"name": own.name, "email": own.email, "kind": "standard", "time_zone": "UTC"}
    browser.post(f"/admin/accounts/user/{own.pk}/change/", fields)
    own.refresh_from_db()
    assert not own.is_active


def test_the_operator_sees_it_at_the_command_line(theirs):
    with pytest.raises(CommandError, match=r"zoe@customer.example.com: A user has this address already\."):
        call_command("create_organization", "Another", theirs.email)


def test_a_contact_method_may_have_an_address_of_another_organization(client_for, organization, theirs):
    body = {"label": "Mine", "kind": "email", "address": theirs.email}
    answer = client_for(UserFactory(organization=organization)).post("/api/v1/contact-methods/", body, format="json")
    assert answer.status_code == 201, answer.content
