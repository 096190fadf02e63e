"""The endpoint for outgoing HTTP: what it sends, how it judges answers, and where it does not go."""

import socket
import ssl
import threading
import time
from ipaddress import ip_network

import pytest
from django.db import connections

from escalation.channels import http_client
from escalation.channels.base import DeliveryError
from escalation.models.sending import CircuitBreaker
from escalation.oncall.calendars.fetch import NotFetched, fetch
from heartbeat_project.kernel import http_client as client
from tests.providers.certificates import make_certificate
from tests.providers.server import GARBAGE, HALF, HANG_UP, SILENCE, Drip, answer, read_request


def post(url, body=b"{}", **headers):
    return http_client.post(url, body=body, headers=headers)


def failure(url):
    with pytest.raises(DeliveryError) as caught:
        post(url)
    return caught.value


def judged(error):
    return error.permanent, error.uncertain


@pytest.fixture
def names(monkeypatch):
    """Answer look-ups from this table, each name with a list of addresses, and count how often each is asked for."""
    table, asked = {}, []
    real = socket.getaddrinfo

    def look_up(host, port, *more, **options):
        asked.append(host)
        addresses = list(table.get(host, [host]))
        if isinstance(table.get(host), Turns):
            table[host].turn()
        return [real(address, port, type=socket.SOCK_STREAM)[0] for address in addresses]

    look_up.asked = asked
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


class Turns(list):
    """Addresses that are others at the second look: what DNS rebinding does."""

    def __init__(self, first, second):
        super().__init__([first])
        self.second = second

    def turn(self):
        self[:] = [self.second]


def test_the_request_arrives_whole_and_the_answer_comes_back(provider):
    provider.answers(answer(201, {"id": "a"}, X_Id="7"))
    reply = post(f"{provider.url}/in?a=b%20c", "grüß".encode(), **{"Content-Type": "text/plain"})
    assert (reply.status, reply.body, reply.headers["x-id"]) == (201, b'{"id": "a"}', "7")
    (request,) = provider.requests
    assert (request.method, request.path, request.body.decode()) == ("POST", "/in?a=b%20c", "grüß")
    assert request.headers["host"] == f"127.0.0.1:{provider.port}"
    assert request.headers["content-type"] == "text/plain"


@pytest.mark.django_db(transaction=True)
def test_while_the_other_side_is_asked_no_connection_to_the_database_is_kept(provider, close_connections):
    mine, kept = connections["default"], []

    def look(_):
        kept.append(mine.connection)
        return answer(200)

    provider.usual = look
    assert not CircuitBreaker.objects.exists()  # as a channel does that asks something before it sends
    post(f"{provider.url}/hook")
    assert kept == [None]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_4xx_is_permanent_and_says_what_the_other_side_said(provider, status):
    provider.answers(answer(status, b"no such\nchannel"))
    error = failure(provider.url)
    assert judged(error) == (True, False)
    assert str(status) in str(error)
    assert "no such channel" in str(error)


def test_a_request_that_cannot_be_written_is_permanent_though_a_connection_was_made(provider):
    with pytest.raises(DeliveryError) as caught:
        post(provider.url, **{"X-Bad": "a\r\nb"})
    assert judged(caught.value) == (True, False)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_is_about_the_moment_may_be_tried_again(provider, status):
    provider.answers(answer(status))
    assert judged(failure(provider.url)) == (False, False)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("30", 30),
        ("999999", 3600),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("9" * 40, None),
        ("²", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_bounded(provider, said, meant):
    provider.answers(answer(429, Retry_After=said.encode().decode("latin-1")))
    wait = failure(provider.url).retry_after
    assert (wait and wait.total_seconds()) == meant


@pytest.mark.parametrize("said", [GARBAGE, HALF, HANG_UP], ids=["garbage", "half", "hang up"])
def test_an_answer_that_is_none_may_be_tried_again_and_leaves_it_open_whether_it_arrived(provider, said):
    provider.answers(said)
    assert judged(failure(provider.url)) == (False, True)


@pytest.mark.parametrize(
    "said", [SILENCE, Drip(), Drip(beginning=b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n")]
)
def test_nobody_is_waited_for_longer_than_the_whole_may_take(provider, said):
    provider.answers(said)
    began = time.monotonic()
    assert judged(failure(provider.url)) == (False, True)
    assert time.monotonic() - began < 2


def test_an_endless_answer_is_cut_off(provider):
    provider.answers(answer(200, b"x" * 3_000_000))
    assert len(post(provider.url).body) == http_client.MAX_ANSWER_BYTES


def test_who_does_not_listen_was_surely_not_notified():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert judged(failure(f"http://127.0.0.1:{port}")) == (False, False)


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://example.com", "file:///etc/passwd", "http://", "http://[::1", "http://x:99999/", "http://a b/"],
)
def test_what_is_no_address_is_refused_for_good(url):
    assert judged(failure(url)) == (True, False)


# -- where it does not go ----------------------------------------------------------------------------------------------
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fd00::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "224.0.0.1",
    "2130706433",
    "127.1",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused_however_they_are_written(settings, host):
    settings.OUTGOING_ALLOW = []
    error = failure(f"http://{host}:9/")
    assert judged(error) == (True, False)
    assert "HEARTBEAT_OUTGOING_ALLOW" in str(error)


def test_a_name_that_leads_inwards_is_refused(settings, provider, names):
    settings.OUTGOING_ALLOW = []
    names["innocent.example"] = ["127.0.0.1"]
    assert failure(f"http://innocent.example:{provider.port}/").permanent
    assert provider.requests == []


def test_a_name_that_leads_elsewhere_at_the_second_look_is_looked_up_once(settings, provider, names):
    """The first look gives the allowed provider; a second one would lead to the forbidden 127.0.0.2."""
    names["rebinding.example"] = Turns("127.0.0.1", "127.0.0.2")
    assert post(f"http://rebinding.example:{provider.port}/").status == 200
    assert socket.getaddrinfo.asked.count("rebinding.example") == 1
    assert failure(f"http://rebinding.example:{provider.port}/").permanent
    assert len(provider.requests) == 1


@pytest.mark.parametrize("addresses", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"]])
def test_a_host_with_one_private_address_is_refused_by_channels_and_calendars_alike(provider, names, addresses):
    names["mixed.example"] = addresses
    error = failure(f"http://mixed.example:{provider.port}/")
    assert judged(error) == (True, False)
    assert "HEARTBEAT_OUTGOING_ALLOW" in str(error)
    with pytest.raises(NotFetched, match="HEARTBEAT_OUTGOING_ALLOW"):
        fetch(f"http://mixed.example:{provider.port}/", max_bytes=10, seconds=1)
    assert provider.requests == []


def test_of_several_addresses_one_that_answers_is_used(provider, names, settings):
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.0/8")]
    names["double.example"] = ["127.0.0.2", "127.0.0.1"]
    assert post(f"http://double.example:{provider.port}/").status == 200
    assert provider.requests[0].headers["host"] == f"double.example:{provider.port}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_wherever_it_leads(provider, status):
    provider.answers(answer(status, Location=f"{provider.url}/private"))
    error = failure(provider.url)
    assert judged(error) == (True, False)
    assert "redirects are not followed" in str(error)
    assert len(provider.requests) == 1


def test_a_slow_name_server_does_not_hold_it_up(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(3))
    began = time.monotonic()
    assert judged(failure("http://slow.example/")) == (False, False)
    assert time.monotonic() - began < 2


# -- TLS ---------------------------------------------------------------------------------------------------------------
@pytest.fixture
def secure(tmp_path, monkeypatch):
    """Serve TLS as hooks.example, which the endpoint trusts; return the port and the names that were asked for (SNI)."""
    path = make_certificate(tmp_path, "hooks.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    asked = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
                with context.wrap_socket(connection, server_side=True) as secured:
                    read_request(secured)
                    secured.sendall(answer(200, b"safe"))
            except ssl.SSLError:
                continue
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    trusting = ssl.create_default_context(cafile=path)
    monkeypatch.setattr(client, "_trust", lambda: trusting)
    yield listening.getsockname()[1], asked
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def test_tls_asks_for_and_checks_the_name_though_the_address_was_found_before(secure, names):
    port, asked = secure
    names["hooks.example"] = names["other.example"] = ["127.0.0.1"]
    assert post(f"https://hooks.example:{port}/").body == b"safe"
    assert asked == ["hooks.example"]
    error = failure(f"https://other.example:{port}/")
    assert judged(error) == (False, False)
    assert "certificate" in str(error).lower()


def test_nobody_is_trusted_without_a_certificate(secure, names, monkeypatch):
    port, _ = secure
    names["hooks.example"] = ["127.0.0.1"]
    monkeypatch.undo()
    monkeypatch.setattr(client, "resolve", lambda *a, **k: ["127.0.0.1"])
    monkeypatch.setattr(client, "is_public", lambda *a, **k: True)
    assert not failure(f"https://hooks.example:{port}/").uncertain
