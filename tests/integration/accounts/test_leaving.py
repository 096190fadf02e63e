"""Whoever is deactivated, or has a new password, is out: sessions end, and API keys with the password."""

import getpass
import io

import pytest
from django.core.management import call_command
from django.test import Client

from accounts.services.api_keys import create_api_key, find_key
from accounts.services.users import update_user
from tests.factories import WHEN, UserFactory

pytestmark = pytest.mark.django_db
PASSWORD, OTHER = "correct horse battery", "another good one"


@pytest.fixture
def admin(organization):
    return UserFactory(organization=organization, roles=["App Admin"])


@pytest.fixture
def ana(organization):
    user = UserFactory(organization=organization, name="Ana")
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def key(ana):
    return create_api_key(ana, name="deploy", now=WHEN)[1]


@pytest.fixture
def browser(ana):
    return signed_in(ana)


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def test_a_deactivated_persons_sessions_end_for_good_and_their_keys_while_it_lasts(admin, ana, key, browser):
    assert browser.get("/profile/").status_code == 200
    update_user(ana, actor=admin, now=WHEN, is_active=False)
    assert browser.get("/profile/").status_code == 302
    assert find_key(key) is None
    update_user(ana, actor=admin, now=WHEN, is_active=True)
    assert browser.get("/profile/").status_code == 302
    assert signed_in(ana.__class__.objects.get(pk=ana.pk)).get("/profile/").status_code == 200
    assert find_key(key) is not None


@pytest.mark.parametrize("keep", [False, True])
def test_who_changes_their_password_says_whether_their_keys_stay(ana, key, browser, keep):
    page = browser.get("/profile/password/").content.decode()
    assert "Keep my API keys" in page
    form = {
        "current_password": PASSWORD,
        "password": OTHER,
        "again": OTHER,
        **({"keep_api_keys": "on"} if keep else {}),
    }
    assert browser.post("/profile/password/", form).status_code == 302
    assert (find_key(key) is not None) is keep
    assert browser.get("/profile/").status_code == 200


@pytest.mark.parametrize("keep", [False, True])
def test_the_same_over_the_api(client_for, ana, key, keep):
    body = {"password": OTHER, "current_password": PASSWORD, **({"keep_api_keys": True} if keep else {})}
    api = client_for(ana)
    assert api.patch("/api/v1/users/me/", body, format="json").status_code == 200
    assert api.get("/api/v1/users/me/").status_code == (200 if keep else 401)
    assert (find_key(key) is not None) is keep


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("over", ["api", "admin"])
def test_a_reset_by_an_admin_revokes_the_keys_unless_they_say_otherwise(
    client_for, admin, ana, key, browser, over, keep
):
    ticked = {"keep_api_keys": True} if keep else {}
    if over == "api":
        body = {"password": OTHER, **ticked}
        answer = client_for(admin).patch(f"/api/v1/users/{ana.pk}/", body, format="json")
        assert answer.status_code == 200
        assert "keep_api_keys" not in answer.json()
    else:
        form = {"name": "Ana", "email": ana.email, "kind": ana.kind, "time_zone": "UTC", "is_active": "on"}
        form |= {"roles": [role.pk for role in ana.roles.all()], "password": OTHER, **ticked}
        answer = signed_in(admin).post(f"/admin/accounts/user/{ana.pk}/change/", form)
        assert answer.status_code == 302, answer.content.decode()
    assert (find_key(key) is not None) is keep
    assert browser.get("/profile/").status_code == 302  # their sessions end in any case


@pytest.mark.parametrize("keep", [False, True])
def test_the_operators_command_does_the_same(ana, key, browser, monkeypatch, keep):
    monkeypatch.setattr(getpass, "getpass", lambda prompt="": OTHER)
    call_command("changepassword", ana.email, keep_api_keys=keep, stdout=io.StringIO())
    assert (find_key(key) is not None) is keep
    assert browser.get("/profile/").status_code == 302


def test_a_change_without_a_new_password_keeps_keys_and_sessions(admin, ana, key, browser):
    update_user(ana, actor=admin, now=WHEN, name="Anna", kind="stakeholder")
    assert find_key(key) is not None
    assert browser.get("/profile/").status_code == 200
