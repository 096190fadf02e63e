"""Signing in and out, the profile, and the pages for what goes wrong."""

import re

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory

from accounts.models.access import ApiKey
from accounts.services.contact_methods import create_contact_method
from escalation.notifications.verification import send_code
from heartbeat_project.console.views.faults import server_error
from tests import factories

PASSWORD = "correct horse 12"


@pytest.fixture
def ana(db):
    return factories.UserFactory(name="Ana", email="ana@example.com", password=PASSWORD)


@pytest.fixture
def client(ana):
    client = Client()
    client.force_login(ana)
    return client


def sign_in(client, email="ana@example.com", password=PASSWORD, **more):
    return client.post("/login/", {"username": email, "password": password, **more})


# -- signing in --------------------------------------------------------------------------------------------------------
def test_signing_in_leads_to_the_page_that_was_asked_for(ana):
    assert sign_in(Client(), next="/profile/")["Location"] == "/profile/"
    assert sign_in(Client(), email="ANA@example.com")["Location"] == "/"


@pytest.mark.parametrize("evil", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "\\\\evil.example"])
def test_it_never_leads_to_another_site(ana, evil):
    assert sign_in(Client(), next=evil)["Location"] == "/"


@pytest.mark.parametrize("email", ["ana@example.com", "nobody@example.com", "", "a\x00b@example.com", "x" * 300])
def test_what_does_not_match_says_what_to_do(ana, email):
    response = sign_in(Client(), email=email, password="wrong")
    assert response.status_code == 200
    assert response.context["form"].errors
    assert "Cannot sign in?" in response.content.decode()


def test_a_deactivated_person_cannot_sign_in(ana):
    type(ana).objects.filter(pk=ana.pk).update(is_active=False)
    assert sign_in(Client()).status_code == 200


def test_signing_out_is_a_post(client):
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/alerts/").status_code == 302


# -- the profile -------------------------------------------------------------------------------------------------------
def test_name_and_time_zone_are_saved(client, ana):
    assert client.post("/profile/", {"name": "Ana B.", "time_zone": "Asia/Tokyo"}).status_code == 302
    ana.refresh_from_db()
    assert (ana.name, ana.time_zone) == ("Ana B.", "Asia/Tokyo")
    for wrong in (
        {"name": "", "time_zone": "UTC"},
        {"name": "x", "time_zone": "Mars"},
        {"name": "a\x00", "time_zone": "UTC"},
    ):
        assert client.post("/profile/", wrong).status_code == 400
    ana.refresh_from_db()
    assert ana.name == "Ana B."


def test_an_address_is_added_confirmed_ordered_switched_and_removed(client, ana, mailoutbox, now):
    assert client.post("/profile/contact-methods/add/", {"label": "Home", "address": "nonsense"}).status_code == 400
    client.post("/profile/contact-methods/add/", {"label": "Home", "address": "ana@home.example"})
    method = ana.contact_methods.get(label="Home")
    base = f"/profile/contact-methods/{method.pk}"
    assert method.verified_at is None
    assert "Not confirmed" in client.get("/profile/contact-methods/").content.decode()
    from heartbeat_project.kernel import clock

    send_code(method.pk, now=clock.now())
    code = mailoutbox[-1].body.split("The code is ")[1][:6]
    wrong = client.post(f"{base}/verify/", {"code": "000000" if code != "000000" else "111111"})
    assert wrong.status_code == 400
    assert "not the code" in wrong.content.decode()
    assert client.post(f"{base}/verify/", {"code": code}).status_code == 302
    method.refresh_from_db()
    assert method.verified_at is not None
    client.post(f"{base}/up/")
    assert [row.label for row in ana.contact_methods.all()] == ["Home", "Email-Official"]
    client.post(f"{base}/down/")
    assert [row.label for row in ana.contact_methods.all()] == ["Email-Official", "Home"]
    client.post(f"{base}/disable/")
    method.refresh_from_db()
    assert not method.enabled
    assert client.post(f"{base}/dance/").status_code == 404
    client.post(f"{base}/delete/")
    assert [row.label for row in ana.contact_methods.all()] == ["Email-Official"]


def test_email_official_stays(client, ana):
    official = ana.contact_methods.get()
    response = client.post(f"/profile/contact-methods/{official.pk}/delete/", follow=True)
    assert "cannot be removed" in response.content.decode()
    assert ana.contact_methods.filter(pk=official.pk).exists()


def test_the_methods_and_keys_of_others_do_not_exist(client, ana):
    ben = factories.UserFactory(organization=ana.organization, name="Ben")
    method = create_contact_method(ben, actor=ben, label="Home", address="ben@home.example")
    for action in ("verify", "delete", "up", "code"):
        assert client.post(f"/profile/contact-methods/{method.pk}/{action}/", {"code": "1"}).status_code == 404
    from accounts.services.api_keys import create_api_key

    key, _ = create_api_key(ben, name="his", now=ben.created_at)
    assert client.post(f"/profile/api-keys/{key.pk}/revoke/").status_code == 404
    assert client.post(f"/profile/api-keys/{'9' * 30}/revoke/").status_code == 404


def test_a_key_is_shown_once_and_revoked(client, ana):
    response = client.post("/profile/api-keys/add/", {"name": "Deploy"})
    secret = response.context["secret"]
    assert secret in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert secret not in client.get("/profile/").content.decode()
    key = ApiKey.objects.get(user=ana)
    client.post(f"/profile/api-keys/{key.pk}/revoke/")
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert client.post("/profile/api-keys/add/", {"name": ""}).status_code == 400


def test_the_password_is_changed_with_the_current_one_and_the_person_stays_signed_in(client, ana):
    new = "a better horse 13"
    fields = {"current_password": "wrong", "password": new, "again": new}
    assert client.post("/profile/password/", fields).context["form"].errors["current_password"]
    fields["current_password"] = PASSWORD
    assert client.post("/profile/password/", fields | {"again": "other"}).context["form"].errors["again"]
    assert (
        client.post("/profile/password/", fields | {"password": "short", "again": "short"})
        .context["form"]
        .errors["password"]
    )
    assert client.post("/profile/password/", fields)["Location"] == "/profile/"
    assert client.get("/profile/").status_code == 200
    assert sign_in(Client(), password=new).status_code == 302


def test_the_current_password_is_not_guessed_and_the_one_who_types_it_right_is_not_counted(client, ana):
    right = {"current_password": PASSWORD, "password": "short", "again": "short"}
    for _ in range(12):
        assert client.post("/profile/password/", right).status_code == 400
    for _ in range(10):
        assert client.post("/profile/password/", right | {"current_password": "wrong"}).status_code == 400
    refused = client.post("/profile/password/", right)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 300
    assert "Too many tries. Try again in 5 minutes." in refused.content.decode()
    over_the_api = client.patch(
        "/api/v1/users/me/",
        {"password": "a better horse 13", "current_password": PASSWORD},
        content_type="application/json",
    )
    assert over_the_api.status_code in {403, 429}


# -- what goes wrong ---------------------------------------------------------------------------------------------------
def test_pages_that_do_not_exist_say_so_in_our_words(client):
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert "Page not found" in response.content.decode()
    response = client.get("/admin/")
    assert response.status_code == 403
    assert "You are not permitted" in response.content.decode()


@pytest.mark.parametrize("path", ["/", "/api/v1/integrations/", "/Heartbeat/token"])
def test_a_fault_is_a_500_and_a_database_that_is_away_a_503(path):
    def answer(error):
        try:
            raise error
        except type(error):
            return server_error(RequestFactory().get(path))

    broken, away = answer(RuntimeError("x")), answer(OperationalError("x"))
    assert (broken.status_code, away.status_code) == (500, 503)
    assert away["Retry-After"]
    kind = "text/html" if path == "/" else "application/problem+json"
    assert broken["Content-Type"].startswith(kind)
    assert away["Content-Type"].startswith(kind)


def test_every_page_names_its_stylesheets_and_runs_no_inline_script(client):
    for path in ("/alerts/", "/profile/", "/profile/password/", "/profile/contact-methods/"):
        page = client.get(path).content.decode()
        assert "<script>" not in page
        assert " style=" not in page
        assert " onclick=" not in page
        assert "http://" not in page.replace("http://testserver", "").replace("http://www.w3.org/2000/svg", "")


def test_no_two_things_on_the_profile_have_one_id(client):
    page = client.get("/profile/").content.decode()

    found = re.findall(r'\sid="([^"]+)"', page)
    assert len(found) == len(set(found))
    assert {"id_name", "id_key_name"} <= set(found)
