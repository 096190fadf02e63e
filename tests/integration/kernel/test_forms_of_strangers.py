"""Large forms of strangers are read two at once; small ones, and those of who is signed in, wait for nobody."""

from contextlib import ExitStack, contextmanager
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.http import HttpResponse

from accounts.request_queue import TURN
from heartbeat_project.kernel import forms
from heartbeat_project.middleware import FormsOfStrangers
from tests import factories

pytestmark = pytest.mark.django_db
LARGE = {"username": "a@example.com", "password": "x" * 10_000}
FORM = "application/x-www-form-urlencoded"


@contextmanager
def all_places_taken():
    with ExitStack() as taken:
        for _ in range(forms.AT_ONCE):
            taken.enter_context(forms.QUEUE.turn("others", seconds=0))
        yield


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(forms, "WAIT_SECONDS", 0.05)


def test_a_large_form_of_a_stranger_waits_for_a_place_and_is_answered_503_without_one(client):
    with all_places_taken():
        refused = client.post("/login/", LARGE)
        assert refused.status_code == 503
        assert refused["Retry-After"] == "5"
        assert "Too many large forms" in refused.content.decode()
    assert client.post("/login/", LARGE).status_code == 200


def test_it_is_read_within_its_turn(rf):
    request = rf.post("/login/", LARGE)
    request.META[TURN] = ExitStack()
    assert FormsOfStrangers(HttpResponse).process_view(request, HttpResponse) is None
    with all_places_taken():  # what is read already needs no place
        assert request.POST["username"] == LARGE["username"]
    assert hasattr(request, "_post")


@pytest.mark.parametrize("kind", ["multipart", "chunked"])
def test_so_are_forms_in_parts_and_in_chunks(client, kind):
    body = {"data": {"password": "x" * 10_000}} if kind == "multipart" else {"data": "password=x", "content_type": FORM}
    chunked = {"CONTENT_LENGTH": ""} if kind == "chunked" else {}
    with all_places_taken():
        assert client.post("/login/", **body, **chunked).status_code == 503


def test_a_small_form_waits_for_nobody(client):
    with all_places_taken():
        assert client.post("/login/", {"username": "a@example.com", "password": "x"}).status_code == 200


def test_who_is_signed_in_waits_for_no_stranger(client):
    user = factories.UserFactory(roles=["App Admin"])
    client.force_login(user)
    with all_places_taken():
        assert client.post("/admin/accounts/group/add/", {"name": "x" * 10_000}).status_code == 200


@pytest.mark.parametrize("address", ["responses/twilio/sms/", f"provider-callbacks/twilio/{UUID(int=7)}/"])
def test_forms_that_claim_to_be_signed_wait_as_well_before_they_are_read(client, settings, address):
    settings.TWILIO_AUTH_TOKEN = "secret"
    body = urlencode({"From": "+4915112345678", "Body": "x" * 10_000})
    with all_places_taken():
        refused = client.post(f"/api/v1/{address}", body, content_type=FORM)
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert client.post(f"/api/v1/{address}", body, content_type=FORM).status_code == 403


def test_a_mail_that_says_it_is_a_form_is_not_read_as_one(client, settings):
    settings.REPLY_ADDRESS, settings.INBOUND_MAIL_SECRET = "alerts@example.org", "secret"
    mail = b"To: x@example.org\r\n\r\n" + b"a&" * 10_000
    with all_places_taken():
        answer = client.post(
            "/api/v1/responses/mail/", mail, content_type=FORM, headers={"Authorization": "Bearer secret"}
        )
    assert answer.status_code == 202
