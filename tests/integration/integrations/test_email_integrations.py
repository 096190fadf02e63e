"""Email integrations: their fields in the management API, and the endpoint for mail servers."""

import pytest

from heartbeat_project.kernel import clock
from integrations.inbound.mails import read_events
from integrations.models.events import InboundEvent
from integrations.models.history import Ping
from integrations.models.integrations import InboundIntegration
from tests import factories
from tests.integration.integrations.test_api_integrations import URL, pointers, send

pytestmark = pytest.mark.django_db
MAIL = "/api/v1/responses/mail/"
SECRET = "mail-secret-of-the-mail-server"


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization)


@pytest.fixture
def api(organization, client_for, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)
    return client_for(factories.UserFactory(organization=organization, name="Ines", roles=["Integrations Admin"]))


@pytest.fixture
def good(policy):
    return {"type": "email", "name": "nagios", "escalation_policy": policy.pk}


@pytest.fixture
def bring(client, settings, monkeypatch, now):
    """Bring a mail as a mail server in front does, and let it be read."""
    settings.INBOUND_MAIL_SECRET = SECRET
    monkeypatch.setattr(clock, "now", lambda: now)

    def bring(raw, *, authorization=f"Bearer {SECRET}", **query):
        url = f"{MAIL}?{'&'.join(f'{name}={value}' for name, value in query.items())}"
        answer = client.post(url, raw, content_type="message/rfc822", headers={"Authorization": authorization})
        while read_events(now=now):
            pass
        return answer

    return bring


# -- the management API ------------------------------------------------------------------------------------------------
def test_a_created_one_has_its_defaults_and_its_address(api, good):
    answer = send(api.post, URL, good)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    stored = InboundIntegration.objects.get(pk=body["id"])
    assert body["email_address"] == f"{stored.mail_token}@127.0.0.1"
    assert len(stored.mail_token) == 26
    assert (body["type"], body["api_url"], body["request_url"], body["state"]) == ("email", None, None, "waiting")
    own = ("aliases", "sequence", "every_mail_opens", "allowed_senders", "require_authenticated", "extract")
    assert {name: body[name] for name in own} == dict(zip(own, ([], 1, False, [], False, {}), strict=True))
    assert not {"allow_get", "signature", "interval_minutes"} & body.keys()
    assert send(api.put, f"{URL}{stored.pk}/", body).status_code == 200


def test_every_field_is_kept_and_addresses_are_in_lower_case_once(api, good):
    given = {
        "aliases": ["Alerts@Corp.org", " alerts@corp.org "],
        "sequence": 7,
        "every_mail_opens": True,
        "allowed_senders": ["@Corp.org", "A@x.org"],
        "require_authenticated": True,
        "extract": {"source_id": {"from": "header:X-Host", "regex": "(.+)"}, "url": {"from": "body", "start": "<"}},
    }
    body = send(api.post, URL, good | given).json()
    kept = given | {"aliases": ["alerts@corp.org"], "allowed_senders": ["@corp.org", "a@x.org"]}
    assert {name: body[name] for name in given} == kept
    changed = send(api.patch, f"{URL}{body['id']}/", {"sequence": 2}).json()
    assert {name: changed[name] for name in given} == kept | {"sequence": 2}


WRONG: dict[str, list] = {
    "aliases": [
        None,
        "a@b",
        [1],
        ["x"],
        ["a b@c"],
        [f"a{number}@b" for number in range(21)],
        [["a@b"]],
        ["a" * 26 + "@x.org"],
        ["\x00@b"],
    ],
    "sequence": [0, -1, 10_001, "x", None, True],
    "every_mail_opens": ["perhaps", None],
    "allowed_senders": [None, "x", ["x"], ["@"], ["a@b@c"], [None]],
    "require_authenticated": [None, 5],
    "extract": [
        None,
        [],
        {"nonsense": {"from": "body", "start": "x"}},
        {"url": "x"},
        {"url": {"from": "elsewhere", "start": "x"}},
        {"url": {"from": "header:", "start": "x"}},
        {"url": {"from": "body"}},
        {"url": {"from": "body", "start": "x" * 201}},
        {"url": {"from": "body", "regex": "("}},
        {"url": {"from": "body", "regex": "(?=x)"}},
        {"url": {"from": "body", "regex": "x", "start": "y"}},
        {"url": {"from": "body", "start": 5}},
        {"url": {"from": "body", "start": "\x00"}},
        {"url": {"from": "body", "start": "a", "colour": "red"}},
    ],
    "allow_get": [True],
    "signature": [None],
    "interval_minutes": [5],
    "email_address": ["mine@x.org"],
}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_value_is_named_at_its_field_and_nothing_is_saved(api, good, field):
    for value in WRONG[field]:
        found = pointers(send(api.post, URL, good | {field: value}))
        assert any(pointer.startswith(f"/{field}") for pointer in found), (value, found)
    assert not InboundIntegration.objects.exists()


@pytest.mark.parametrize("field", ["aliases", "extract", "every_mail_opens"])
def test_an_api_integration_has_none_of_these_fields(api, good, field):
    assert pointers(send(api.post, URL, good | {"type": "api", field: WRONG[field][0]})) == {f"/{field}"}


def test_who_may_not_manage_sees_no_address(api, good, organization, client_for):
    pk = send(api.post, URL, good).json()["id"]
    viewer = client_for(factories.UserFactory(organization=organization, roles=["System Viewer"]))
    assert viewer.get(f"{URL}{pk}/").json()["email_address"] is None


def test_rotating_gives_a_new_address(api, good):
    body = send(api.post, URL, good).json()
    rotated = api.post(f"{URL}{body['id']}/rotate-token/", {}, format="json").json()
    assert rotated["email_address"] != body["email_address"]


def test_a_heartbeat_has_an_address_if_mails_can_come_in(api, policy, settings):
    body = send(api.post, URL, {"name": "job", "interval_minutes": 5, "escalation_policy": policy.pk}).json()
    assert body["email_address"].endswith("@127.0.0.1")
    settings.SMTP_PORT, settings.INBOUND_MAIL_SECRET = 0, ""
    assert api.get(f"{URL}{body['id']}/").json()["email_address"] is None


def test_the_mapping_is_tried_on_the_parts_of_a_mail(api, good):
    pk = send(api.post, URL, good).json()["id"]
    wish = {
        "payload": {"subject": "PROBLEM: web1", "body": "Host: db1\n", "from": "a@x.org"},
        "extract": {"source_id": {"from": "body", "start": "Host:"}},
        "rules": [
            {
                "name": "x",
                "when": {"all": [{"path": "from.address", "op": "equals", "value": "a@x.org"}]},
                "then": {"priority": "low"},
            }
        ],
    }
    tried = send(api.post, f"{URL}{pk}/test-mapping/", wish).json()
    assert (tried["action"], tried["source_id"], tried["priority"], tried["subject"]) == ("open", "db1", "low", "web1")


def test_all_settings_that_change_what_is_read_in_a_mail_are_tried(api, good):
    pk = send(api.post, URL, good).json()["id"]

    def tried(**wish):
        payload = {"subject": "RECOVERY: web1", "from": "a@x.org", "headers": {"auto-submitted": "no"}}
        body = send(api.post, f"{URL}{pk}/test-mapping/", {"payload": payload} | wish).json()
        return body["action"], body["reason"], body["source_id"]

    assert tried() == ("close", "", "web1")
    assert tried(allowed_senders=["@y.org"]) == ("ignore", "untrusted", "web1")
    assert tried(require_authenticated=True) == ("ignore", "untrusted", "web1")
    assert tried(query={"key": "db1"}) == ("close", "", "db1")
    assert tried(every_mail_opens=True)[0] == "open"
    report = {"subject": "Undelivered", "is_report": True}
    assert tried(payload=report, query={"sender": "<>"})[:2] == ("ignore", "loop")
    wrong = api.post(f"{URL}{pk}/test-mapping/", {"payload": {}, "allowed_senders": ["x"]}, format="json")
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/allowed_senders"]
    many = api.post(
        f"{URL}{pk}/test-mapping/", {"payload": {}, "query": {str(n): "" for n in range(101)}}, format="json"
    )
    assert many.status_code == 400


# -- the endpoint for mail servers -------------------------------------------------------------------------------------
def test_the_recipient_decides_whether_a_mail_is_an_event_a_ping_or_an_answer(bring, organization, now):
    shop = factories.ApiIntegrationFactory(organization=organization, type="email", name="Shop")
    backup = factories.HeartbeatFactory(organization=organization, name="backup")
    answer = bring(b"Subject: web1 is down\r\n\r\n", recipient=f"{shop.mail_token}%2Bdb1@x.org", sender="a@b")
    assert answer.status_code == 202
    event = InboundEvent.objects.get(pk=answer.json()["event"])
    assert (event.integration_id, event.query) == (shop.pk, {"key": "db1", "sender": "a@b"})
    assert event.result[0]["action"] == "opened"
    # Without a recipient, the headers say it.
    assert bring(f"Delivered-To: {backup.mail_token}@x.org\n\n".encode()).status_code == 202
    assert Ping.objects.get().integration_id == backup.pk
    # A bounce has an empty sender.
    report = b"Content-Type: multipart/report; boundary=b\n\n"
    bring(report, recipient=f"{backup.mail_token}@x.org", sender="")
    assert Ping.objects.count() == 1
    stranger = InboundEvent.objects.get(pk=bring(b"To: x@y\n\n", recipient="x@y").json()["event"])
    assert (stranger.organization_id, stranger.state) == (None, "read")


def test_without_the_secret_nothing_is_stored(bring, client, settings):
    assert bring(b"x", authorization="Bearer wrong").status_code in {401, 403}
    settings.INBOUND_MAIL_SECRET = ""
    assert client.post(MAIL, b"x", content_type="message/rfc822").status_code == 404
    assert not InboundEvent.objects.exists()


def test_more_mails_than_an_organization_may_have_waiting_are_put_off(bring, organization, monkeypatch):
    shop = factories.ApiIntegrationFactory(organization=organization, type="email", name="Shop")
    monkeypatch.setattr("integrations.inbound.mails.SHARE", 0)
    answer = bring(b"x", recipient=f"{shop.mail_token}@x.org")
    assert (answer.status_code, answer["Retry-After"]) == (503, "60")
    assert not InboundEvent.objects.exists()
