"""The proxy's configuration that the documents offer, on the real HAProxy: one address cannot take all connections."""

import contextlib
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.faults.programs import program
from tests.faults.wire import connect, heard, ping, request
from tests.processes import ROOT, free_port, until

pytestmark = [pytest.mark.serial, pytest.mark.long]

GIVEN = ROOT / "docs" / "proxy" / "haproxy.cfg"


@pytest.fixture
def haproxy() -> str:
    return program("haproxy")


@contextlib.contextmanager
def proxied(program: str, to: int, folder: Path):
    """Run the proxy as it is documented, on ports of our own."""
    port = free_port()
    written = (
        GIVEN.read_text().replace("bind :80\n", f"bind 127.0.0.1:{port}\n").replace("127.0.0.1:8000", f"127.0.0.1:{to}")
    )
    file = folder / "haproxy.cfg"
    file.write_text(written)
    subprocess.run([program, "-c", "-f", str(file)], check=True, capture_output=True)
    process = subprocess.Popen([program, "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: ping(port).status == 200, seconds=20, what="a ping goes through the proxy")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_one_address_has_a_hundred_connections_and_another_still_pings(ground, haproxy, tmp_path):
    with (
        ground.web() as web,
        proxied(haproxy, web.port, tmp_path) as port,
        contextlib.ExitStack() as stack,
    ):
        started = time.monotonic()
        refused = sum(is_refused(port, stack) for _ in range(150))
        same_address = ping(port, seconds=2)
        with contextlib.closing(connect_from("127.0.0.2", port)) as other:
            other.sendall(b"POST /Heartbeat/bench-1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            answer = heard(other, seconds=5)

        # They are let go, and the address has its places again.
        until(lambda: ping(port, seconds=2).status == 200, seconds=40, what="the silent ones end", every=1)

    assert refused == 50
    assert same_address.status == 0
    assert answer.status == 200
    assert time.monotonic() - started < 45


def test_half_a_body_waits_in_the_proxy_and_never_comes_to_the_web_server(ground, haproxy, tmp_path):
    with (
        ground.web(HEARTBEAT_LOG_LEVEL="INFO") as web,
        proxied(haproxy, web.port, tmp_path) as port,
        connect(port) as half,
    ):
        half.sendall(b"POST /api/v1/groups/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        said = heard(half, seconds=60)
        log = web.log.read_text()

    assert said.status == 408
    assert "/api/v1/groups/" not in log


def test_who_says_at_once_that_they_send_no_more_gets_the_answer_of_their_ping(ground, haproxy, tmp_path):
    with ground.web() as web, proxied(haproxy, web.port, tmp_path) as port:
        statuses = []
        for _ in range(10):
            with connect(port) as ended:
                ended.sendall(request())
                ended.shutdown(socket.SHUT_WR)
                statuses.append(heard(ended, seconds=5).status)

    assert statuses == [200] * 10


def is_refused(port: int, stack: contextlib.ExitStack) -> bool:
    """Open a connection that says nothing, and keep it; answer whether it was ended at once."""
    try:
        return heard(stack.enter_context(connect(port)), seconds=0.05).closed
    except ConnectionResetError:
        return True


def connect_from(address: str, port: int):
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0))


class SlowProbes(BaseHTTPRequestHandler):
    """A web server that takes pings at once, while its pages are so busy that `/readyz` needs all of its 4 s."""

    def do_GET(self) -> None:
        time.sleep(4)
        self.do_POST()

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_pages_under_load_take_no_pings_away(haproxy, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowProbes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with proxied(haproxy, server.server_port, tmp_path) as port:
            answers = []
            for _ in range(12):
                time.sleep(1)
                answers.append(ping(port, seconds=2).status)
        server.shutdown()

    assert answers == [200] * 12
