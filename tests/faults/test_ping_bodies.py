"""Bodies of pings as they come over a socket: at once, later, in pieces, too short, and several on one connection."""

import socket
import time

import pytest

from tests.faults.wire import Said, connect, heard, request

pytestmark = pytest.mark.serial

HEAD = b"POST /Heartbeat/bench-%d HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n"


def said_to(port: int, *parts: bytes, pause: float = 0.2, then_end: bool = False) -> Said:
    """Send a request part by part and return what came back."""
    with connect(port) as connection:
        for number, one in enumerate(parts):
            if number:
                time.sleep(pause)
            connection.sendall(one)
        if then_end:
            connection.shutdown(socket.SHUT_WR)
        return heard(connection, seconds=20)


def pings(ground, number: int) -> int:
    [(count,)] = ground.sql("SELECT count(*) FROM integrations_ping WHERE integration_id = %s", [number])
    return count


def test_a_body_that_comes_later_or_in_pieces_is_awaited_and_the_connection_goes_on(emptied):
    chunked, length = b"Transfer-Encoding: chunked", b"Content-Length: 2"
    whole = {
        1101: [HEAD % (1101, length), b"{}"],
        1102: [HEAD % (1102, length), b"{", b"}"],
        1103: [HEAD % (1103, chunked), b"1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n"],
        1104: [HEAD % (1104, length + b"\r\nExpect: 100-continue"), b"{}"],
    }
    with emptied.web() as web:
        for number, parts in whole.items():
            # The next ping on the same connection is read from where the body ended.
            said = said_to(web.port, *parts, request(number))
            assert said.raw.count(b"HTTP/1.1 200 ") == 2, (number, said.raw)
            assert not said.closed, number

    assert {number: pings(emptied, number) for number in whole} == dict.fromkeys(whole, 2)


def test_many_pings_at_once_on_one_connection_are_each_answered(emptied):
    with emptied.web() as web:
        said = said_to(web.port, request(1105) * 20)

    assert said.raw.count(b"HTTP/1.1 200 ") == 20
    assert pings(emptied, 1105) == 20


def test_a_body_that_breaks_off_is_no_ping(emptied):
    chunked, length = b"Transfer-Encoding: chunked", b"Content-Length: 3"
    broken = {
        1106: [HEAD % (1106, length), b"{}"],
        1107: [HEAD % (1107, chunked), b"2\r\n{}\r\n"],
        1108: [HEAD % (1108, length)],
    }
    with emptied.web() as web:
        statuses = {number: said_to(web.port, *parts, then_end=True).status for number, parts in broken.items()}

    assert statuses == dict.fromkeys(broken, 400)
    assert {number: pings(emptied, number) for number in broken} == dict.fromkeys(broken, 0)


@pytest.mark.long
def test_a_body_that_never_comes_is_a_408_and_no_ping(emptied):
    with emptied.web() as web:
        said = said_to(web.port, HEAD % (1109, b"Content-Length: 3"), b"{}")

    assert said.status == 408
    assert 9 < said.seconds < 15
    assert pings(emptied, 1109) == 0
