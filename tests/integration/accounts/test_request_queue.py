"""Organizations take turns at a web process: what one asks for at once holds up itself, and nobody else."""

import sys
from contextlib import ExitStack

import pytest
from django.conf import settings
from django.db import connection

from accounts import request_queue
from accounts.services.api_keys import create_api_key
from heartbeat_project import asgi
from heartbeat_project.kernel.fair_queue import FairQueue
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
ME = "/api/v1/users/me/"


@pytest.fixture
def queue(monkeypatch):
    """One place, for which nobody may wait."""
    queue = FairQueue(1, per_source=0, in_all=0)
    monkeypatch.setattr(request_queue, "QUEUE", queue)
    return queue


@pytest.fixture
def ana():
    return UserFactory()


@pytest.fixture
def taken(queue):
    with queue.turn("somebody", seconds=0):
        yield


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("path", ["/", "/on-call/", "/admin/", "/nothing/"])
def test_a_page_for_which_no_turn_comes_says_when_to_try_again(client, ana, path):
    client.force_login(ana)
    answer = client.get(path)
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert "too many requests at once" in answer.content.decode()


@pytest.mark.usefixtures("taken")
def test_a_call_with_a_key_or_a_session_is_a_problem_document(client, ana, now):
    _, secret = create_api_key(ana, name="script", now=now)
    with_key = client.get(ME, HTTP_API_KEY=secret)
    client.force_login(ana)
    for answer in (with_key, client.get(ME)):
        assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")
        assert answer.json()["code"] == "busy"
        assert answer["Retry-After"] == "5"


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("path", ["/login/", "/readyz", "/r/nothing", "/calendar/nothing.ics"])
def test_who_is_not_signed_in_needs_no_turn(client, path):
    client.cookies[settings.SESSION_COOKIE_NAME] = "nobody"
    assert client.get(path).status_code in {200, 404}


def test_the_turn_is_given_back_whatever_the_answer_is(client, ana, now, queue):
    _, secret = create_api_key(ana, name="script", now=now)
    client.force_login(ana)
    for path in ["/", "/nothing/", ME, "/api/v1/alerts/nothing/"]:
        client.get(path)
        client.get(path, HTTP_API_KEY=secret)
        assert not queue.is_taken


def test_a_key_in_a_session_takes_one_turn(client, ana, now, queue):
    _, secret = create_api_key(ana, name="script", now=now)
    client.force_login(ana)
    assert client.get(ME, HTTP_API_KEY=secret).status_code == 200
    assert not queue.is_taken


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("taken")
def test_who_waits_for_a_turn_holds_no_connection(ana):
    with ExitStack() as turn, pytest.raises(request_queue.TooMuchAtOnce):
        request_queue.take_turn({request_queue.TURN: turn}, ana.organization_id)
    assert connection.connection is None


def test_a_page_that_computes_lets_pings_through_each_millisecond(monkeypatch):
    monkeypatch.setattr(asgi, "limit_connections", lambda: None)
    monkeypatch.setattr(asgi.watch, "start", lambda _name: lambda: None)
    before = sys.getswitchinterval()
    try:
        asgi.begin()
        assert sys.getswitchinterval() == pytest.approx(0.001)
    finally:
        sys.setswitchinterval(before)
