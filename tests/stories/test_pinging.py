"""Domain 4, Pinging: each test is named after the sentence it holds."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from heartbeat_project.kernel import clock
from integrations.configuration.edits import rotate_token
from integrations.heartbeats import edits
from integrations.models.history import Ping
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def web(world, monkeypatch):
    """An HTTP client whose requests arrive at the world's present."""
    monkeypatch.setattr(clock, "now", lambda: world.now)
    return Client(raise_request_exception=False)


def path_of(integration):
    integration.refresh_from_db()
    return f"/Heartbeat/{integration.token}"


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"exit": 0}', b"[1, 2", b"plain text", b"\xff\xfe\x00 not utf-8", b"null", b'"\\ud800"'],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/xml", "nonsense", ""])
def test_4_1_a_post_with_any_body_is_a_ping(world: World, web, body, content_type):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])

    answer = web.post(path_of(backup), data=body, content_type=content_type)

    assert answer.status_code == 200
    assert world.heartbeat_of(backup).ping_count == 1


def test_4_2_the_answer_says_when_it_was_received_and_when_the_next_is_due(world: World, web):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], grace_minutes=1)

    answer = web.post(path_of(backup), data=b"{}", content_type="application/json")

    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert answer.json() == {
        "status": "ok",
        "received_at": "2026-03-02T12:00:00Z",
        "deadline_at": "2026-03-02T12:06:00Z",
    }


@pytest.mark.parametrize("spelling", ["/Heartbeat/{}", "/heartbeat/{}", "/Heartbeat/{}/", "/heartbeat/{}/"])
def test_4_2_every_spelling_of_the_path_means_the_same(world: World, web, spelling):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])

    assert web.post(spelling.format(backup.token)).status_code == 200
    assert world.heartbeat_of(backup).ping_count == 1


@pytest.mark.parametrize("token", ["unknown", "x" * 5000, "%00", "%ED%A0%80", "caf%C3%A9", "a%20b"])
def test_4_3_an_unknown_token_is_a_404_and_nothing_changes(world: World, web, token):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])

    answer = web.post(f"/Heartbeat/{token}", data=b"{}", content_type="application/json")

    assert answer.status_code == 404
    assert world.heartbeat_of(backup).ping_count == 0
    assert not Ping.objects.exists()


def test_4_3_a_rotated_token_is_a_404_and_the_new_one_works(world: World, web):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    old = path_of(backup)
    rotate_token(backup, actor=None, now=world.now)

    assert web.post(old).status_code == 404
    assert web.post(path_of(backup)).status_code == 200


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_4_3_a_wrong_method_is_a_405_with_allow(world: World, web, method):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])

    answer = getattr(web, method)(path_of(backup))

    assert answer.status_code == 405
    assert "POST" in answer["Allow"]
    assert "GET" not in answer["Allow"]
    assert world.heartbeat_of(backup).ping_count == 0


@pytest.mark.parametrize("method", ["get", "head"])
def test_4_3_get_and_head_are_pings_where_the_heartbeat_accepts_them(world: World, web, method):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], allow_get=True)

    assert getattr(web, method)(path_of(backup)).status_code == 200
    assert world.heartbeat_of(backup).ping_count == 1


def test_4_3_a_body_over_one_mebibyte_is_a_413(world: World, web):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])

    just_fits = web.post(path_of(backup), data=b"x" * 1024 * 1024, content_type="text/plain")
    too_large = web.post(path_of(backup), data=b"x" * (1024 * 1024 + 1), content_type="text/plain")

    assert (just_fits.status_code, too_large.status_code) == (200, 413)
    assert world.heartbeat_of(backup).ping_count == 1


def test_4_4_a_disabled_heartbeat_records_the_ping_and_runs_no_timer(world: World, web):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], enabled=False)

    answer = web.post(path_of(backup))
    world.advance(minutes(20))

    assert answer.status_code == 200
    assert answer.json() == {"status": "disabled", "received_at": "2026-03-02T12:00:00Z", "deadline_at": None}
    assert Ping.objects.filter(integration_id=backup.pk).count() == 1
    assert world.alerts(backup) == []
    world.expect_nothing_else()


def test_4_4_enabling_starts_a_fresh_interval(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], enabled=False)
    world.ping(backup)
    world.advance(minutes(20))

    edits.update_heartbeat(backup, actor=None, now=world.now, enabled=True)
    world.advance(minutes(5) - seconds(1))
    assert world.alerts(backup) == []
    world.advance(seconds(1))

    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


def test_4_5_a_ping_is_visible_at_once_on_the_integration_and_in_the_log(world: World, web, client_for):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    api: APIClient = client_for(world.person("ines", roles=["Integrations Admin"]))
    before = api.get(f"/api/v1/integrations/{backup.pk}/").json()

    web.post(path_of(backup), REMOTE_ADDR="192.0.2.7")

    after = api.get(f"/api/v1/integrations/{backup.pk}/").json()
    log = api.get(f"/api/v1/integrations/{backup.pk}/pings/").json()["results"]
    assert (before["last_ping_at"], before["state"], before["ping_count"]) == (None, "waiting", 0)
    assert (after["last_ping_at"], after["state"], after["ping_count"]) == ("2026-03-02T12:00:00Z", "healthy", 1)
    assert [(row["received_at"], row["method"], row["source_ip"]) for row in log] == [
        ("2026-03-02T12:00:00Z", "POST", "192.0.2.7")
    ]


def test_4_a_senders_strange_address_never_loses_a_ping(world: World, web):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])

    answer = web.post(path_of(backup), REMOTE_ADDR="unknown", HTTP_X_FORWARDED_FOR="not an address, 10.0.0.1")

    assert answer.status_code == 200
    assert world.heartbeat_of(backup).ping_count == 1


def test_a_rotated_token_works_for_the_overlap_that_was_asked_for(world: World, web):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    first = path_of(backup)
    rotate_token(backup, actor=None, now=world.now, overlap=minutes(10))
    second = path_of(backup)
    rotate_token(backup, actor=None, now=world.now, overlap=minutes(3))
    third = path_of(backup)

    assert [web.post(path).status_code for path in (first, second, third)] == [200] * 3
    assert world.heartbeat_of(backup).ping_count == 3
    world.now += minutes(3)
    assert [web.post(path).status_code for path in (first, second, third)] == [200, 404, 200]
    world.now += minutes(7)
    assert [web.post(path).status_code for path in (first, second, third)] == [404, 404, 200]


def test_a_rotation_without_overlap_ends_all_former_tokens(world: World, web):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    first = path_of(backup)
    rotate_token(backup, actor=None, now=world.now, overlap=minutes(10))
    second = path_of(backup)
    rotate_token(backup, actor=None, now=world.now)

    assert [web.post(path).status_code for path in (first, second)] == [404, 404]
