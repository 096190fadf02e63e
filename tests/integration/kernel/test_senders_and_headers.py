"""Who sent a request and how, as trusted proxies say it, and the headers that each answer has."""

import ipaddress
import logging

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from heartbeat_project.middleware import TrueSender
from integrations.models.history import Ping
from tests import factories

pytestmark = pytest.mark.django_db
PROXY, STRANGER = "10.0.0.9", "192.0.2.7"
HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.4"}
HTTP = {"X-Forwarded-Proto": "http", "X-Forwarded-For": "198.51.100.4"}


@pytest.fixture(autouse=True)
def installation(settings):
    settings.TRUSTED_PROXIES = (ipaddress.ip_network("10.0.0.0/8"),)
    settings.BASE_URL = "https://beat.example.org"
    settings.ALLOWED_HOSTS = ["beat.example.org", "internal"]


def seen_by_django(*, peer, **headers):
    """Return what a page would know of the sender."""
    found = {}

    def page(request):
        found.update(address=request.META["REMOTE_ADDR"], secure=request.is_secure(), host=request.get_host())
        return HttpResponse()

    TrueSender(page)(RequestFactory().get("/", REMOTE_ADDR=peer, headers={"host": "internal", **headers}))
    return found


def get(path, *, peer=PROXY, **headers):
    return Client(raise_request_exception=False).get(
        path, REMOTE_ADDR=peer, headers={"host": "beat.example.org", **headers}
    )


def test_a_trusted_proxy_is_believed_in_address_scheme_and_host():
    assert seen_by_django(peer=PROXY, **HTTPS, **{"X-Forwarded-Host": "beat.example.org"}) == {
        "address": "198.51.100.4",
        "secure": True,
        "host": "beat.example.org",
    }
    forged = {"X-Forwarded-For": "203.0.113.66, 198.51.100.4", "X-Forwarded-Proto": "https, http"}
    assert seen_by_django(peer=PROXY, **forged) == {"address": "198.51.100.4", "secure": False, "host": "internal"}


@pytest.mark.parametrize("peer", [STRANGER, "unix:", ""])
def test_nobody_else_is(peer):
    headers = HTTPS | {"X-Forwarded-Host": "evil.example", "Forwarded": "for=198.51.100.4;proto=https"}
    assert seen_by_django(peer=peer, **headers) == {"address": peer, "secure": False, "host": "internal"}


def test_a_host_that_is_not_ours_is_refused_also_from_a_proxy():
    assert get("/login/", **HTTPS, **{"X-Forwarded-Host": "evil.example"}).status_code == 400


def test_a_proxy_that_is_not_named_is_said_once(caplog):
    middleware = TrueSender(lambda _: HttpResponse())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            middleware(RequestFactory().get("/", REMOTE_ADDR=STRANGER, headers=HTTP))
    [record] = caplog.records
    assert "HEARTBEAT_TRUSTED_PROXIES" in record.getMessage()
    assert STRANGER in record.getMessage()


def test_a_proxy_that_names_nobody_is_said_once_when_somebody_signs_in(caplog):
    middleware = TrueSender(lambda _: HttpResponse())

    def ask(path, **headers):
        middleware(RequestFactory().get(path, REMOTE_ADDR=PROXY, headers=headers))

    with caplog.at_level(logging.WARNING):
        ask("/readyz")
        ask("/login/", **HTTPS)
        assert caplog.records == []
        ask("/login/", **{"X-Forwarded-For": "10.0.0.1"})
        ask("/login/")
    [record] = caplog.records
    assert f"through {PROXY}" in record.getMessage()
    assert "HEARTBEAT_FRONT_PROXY" in record.getMessage()


@pytest.mark.parametrize(
    "headers", [{"X-Forwarded-Proto": "\x00"}, {"X-Forwarded-Proto": ","}, {"X-Forwarded-For": ","}]
)
def test_garbage_from_a_proxy_breaks_no_page(headers):
    assert get("/login/", **headers).status_code in {200, 301}


@pytest.mark.parametrize("peer", [PROXY, STRANGER])
def test_what_came_over_plain_http_is_sent_to_https(peer):
    answer = get("/login/?next=/profile/", peer=peer, **(HTTP if peer == PROXY else {}))
    assert (answer.status_code, answer["Location"]) == (301, "https://beat.example.org/login/?next=/profile/")
    assert "Strict-Transport-Security" not in answer
    away = get("//evil.example/", **HTTP)
    assert away["Location"].startswith("https://beat.example.org/")


def test_a_proxy_that_does_not_say_how_it_was_asked_makes_no_loop(settings):
    assert get("/login/", **{"X-Forwarded-For": "198.51.100.4"}).status_code == 200
    assert get("/login/", peer=STRANGER, **HTTPS).status_code == 200
    # Of a chain, the inner one says how the outer one asked it; and a browser knows better than a proxy.
    assert get("/login/", **HTTP | {"X-Forwarded-For": "10.0.0.7"}).status_code == 200
    over_https = {"Sec-Fetch-Site": "none"}
    assert get("/login/", **HTTP, **over_https).status_code == 200
    assert get("/login/", peer=STRANGER, **over_https).status_code == 200
    settings.TRUSTED_PROXIES = ()
    assert get("/login/", peer=PROXY, **HTTP).status_code == 200
    assert get("/login/", peer=PROXY).status_code == 200


def test_pings_and_probes_are_never_redirected():
    backup = factories.HeartbeatFactory(allow_get=True)
    for path in (f"/Heartbeat/{backup.token}", f"/heartbeat/{backup.token}/"):
        assert get(path, **HTTP).status_code == 200
    assert Ping.objects.count() == 2
    for path in ("/healthz", "/readyz", "/metrics"):
        assert get(path, **HTTP).status_code != 301
    posted = Client().post(f"/Heartbeat/{backup.token}", REMOTE_ADDR=PROXY, headers=HTTP | {"host": "internal"})
    assert posted.status_code == 200


def test_an_answer_to_a_reply_is_never_redirected():
    answer = Client().post("/api/v1/responses/twilio/sms/", {}, REMOTE_ADDR=PROXY, headers=HTTP | {"host": "internal"})
    assert answer.status_code != 301


def test_over_https_a_browser_is_asked_to_stay_there():
    assert get("/login/", **HTTPS)["Strict-Transport-Security"] == "max-age=31536000"


def test_without_an_https_address_nothing_is_said_of_it(settings):
    settings.BASE_URL = "http://beat.example.org"
    answer = get("/login/", **HTTP)
    assert answer.status_code == 200
    assert "Strict-Transport-Security" not in answer


@pytest.mark.parametrize("path", ["/login/", "/", "/api/v1/users/me/", "/nothing/", "/api/v1/docs/", "/r/x"])
def test_every_answer_is_kept_nowhere_and_says_what_a_browser_may_do(path):
    answer = get(path, **HTTPS)
    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] in {"same-origin", "no-referrer"}
    assert "geolocation=()" in answer["Permissions-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_what_holds_a_secret_is_kept_nowhere(client_for):
    boss = factories.UserFactory(roles=["Owner"])
    backup = factories.HeartbeatFactory(organization=boss.organization)
    api = client_for(boss)
    over_https = {"REMOTE_ADDR": PROXY, "headers": HTTPS | {"host": "internal"}}
    read = api.get(f"/api/v1/integrations/{backup.pk}/", **over_https)
    key = api.post("/api/v1/api-keys/", {"name": "x"}, format="json", **over_https)
    assert backup.token in read.content.decode()
    assert key.status_code == 201
    assert [answer["Cache-Control"] for answer in (read, key)] == ["no-store"] * 2


def test_files_that_are_the_same_for_all_may_be_kept():
    answer = get("/static/heartbeat/look.css", **HTTPS)
    assert answer.status_code == 200
    assert "no-store" not in answer["Cache-Control"]
    answer.close()


@pytest.mark.parametrize("cookie", ['"abc\\000defgh"', "abc\x00d"])
def test_a_cookie_that_no_text_holds_is_as_none(cookie):
    answer = Client(raise_request_exception=False, REMOTE_ADDR=PROXY).get(
        "/", headers={"host": "internal", "cookie": f"heartbeat_session={cookie}", "x-forwarded-proto": "https"}
    )
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=/")


FORM = b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n+AAA-\xff\r\n--x--\r\n'


def send_form(path, charset):
    # As the kinds of form that say no encoding of their own: of the others Django takes UTF-8 alone.
    return Client(raise_request_exception=False, REMOTE_ADDR=STRANGER).generic(
        "POST", path, FORM, content_type=f"multipart/form-data; boundary=x; charset={charset}", HTTP_HOST="internal"
    )


@pytest.mark.parametrize("charset", ["utf-7", "hex", "idna", "utf-16", "rot13", "unicode_escape", "zlib", "punycode"])
@pytest.mark.parametrize("path", ["/login/", "/api/v1/responses/sms/"])
def test_a_form_in_no_encoding_of_ours_is_a_400(path, charset):
    assert send_form(path, charset).status_code == 400


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "us-ascii", "iso-8859-1", "windows-1252", "nonsense"])
def test_a_form_in_an_encoding_that_tools_use_is_read(charset):
    answer = send_form("/login/", charset)
    assert (answer.status_code, b"Send text in UTF-8" in answer.content) == (200, False)


def test_a_host_that_is_not_known_is_refused_with_the_setting_to_change(caplog):
    for path in ("/login/", "/api/v1/alerts/"):
        answer = get(path, **HTTPS, host="other.example.org")
        assert answer.status_code == 400
        assert "HEARTBEAT_ALLOWED_HOSTS" in answer.content.decode()
    assert "You may need to add" in caplog.text


@pytest.mark.parametrize(
    ("base_url", "opened_at", "peer"),
    [
        ("https://beat.example.org", "http://beat.example.org", STRANGER),
        ("http://beat.example.org", "https://beat.example.org", STRANGER),
        ("https://beat.example.org", "https://internal", PROXY),
    ],
)
def test_a_form_of_a_page_at_another_address_is_refused_with_the_setting_to_change(settings, base_url, opened_at, peer):
    settings.BASE_URL, settings.CSRF_TRUSTED_ORIGINS = base_url, [base_url]
    client = Client(enforce_csrf_checks=True)
    headers = {"host": "beat.example.org", "Origin": opened_at}

    answer = client.post("/login/", {"username": "ana"}, REMOTE_ADDR=peer, headers=headers)

    assert answer.status_code == 403
    said = answer.content.decode()
    assert f"opened it at {opened_at}, but HEARTBEAT_BASE_URL is {base_url}." in said
    assert "set HEARTBEAT_BASE_URL to it" in said


def test_a_form_of_our_own_page_that_is_too_old_is_refused_as_that():
    client = Client(enforce_csrf_checks=True)
    for opened_at in ({"Origin": "https://beat.example.org"}, {"Origin": "null"}, {}):
        headers = {"host": "beat.example.org", "Referer": "https://beat.example.org/login/", **HTTPS, **opened_at}
        answer = client.post("/login/", {"username": "ana"}, REMOTE_ADDR=PROXY, headers=headers)
        assert answer.status_code == 403
        assert "This form is too old" in answer.content.decode()


def test_what_came_over_plain_http_is_sent_to_https_below_our_path(settings):
    settings.BASE_URL, settings.BASE_PATH = "https://beat.example.org/hb", "/hb"
    settings.FORCE_SCRIPT_NAME = "/hb"

    assert get("/login/?next=/hb/", **HTTP)["Location"] == "https://beat.example.org/hb/login/?next=/hb/"
