"""Broken, endless and unreadable requests to pages and API, on a real server: each is a 4xx, and none a fault."""

import hashlib
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.wire import Said, connect, heard
from tests.processes import until

pytestmark = pytest.mark.serial

KEY = b"hb_a-key-that-is-long-enough-for-anybody"
JSON = b"Content-Type: application/json"
FORM = b"Content-Type: application/x-www-form-urlencoded"
PATHS = [
    *(b"/", b"/login/", b"/admin/", b"/alerts/1/", b"/r/x", b"/static/x", b"/calendar/x.ics", b"/Heartbeat//x"),
    *(b"/healthz", b"/api/v1/alerts/", b"/api/v1/groups/", b"/api/v1/groups/1/", b"/api/v1/responses/mail/"),
]
# Of these no address in the product has one, and some no server should hand on.
IN_PATH = [b"%00", b"%ff%fe", b"%ed%a0%80", b"\xff", b"%1b[31m", b"..%2f..%2fetc/passwd", b"9" * 5_000, b"%D9%A3/"]
IN_QUERY = [
    b"search=%00",
    b"cursor=%ff",
    b"search=%ed%a0%80",
    b"search=\xff",
    b"a=1&" * 3_000,
    b"page_size=" + b"9" * 5_000,
]
HEADERS = [
    [b"X-%d: y" % number for number in range(150)],
    [b"X: " + b"y" * 300_000],
    [b"Content-Length: 2", b"Content-Length: 3"],
    [b"Cookie: heartbeat_session=\xff\xfe; heartbeat_csrf=%00"],
    [b"Accept: application/json; indent=" + b"9" * 5_000],
    [b"Range: bytes=" + b"9" * 5_000 + b"-", b"If-Modified-Since: Sun, 06 Nov 99999 08:49:37 GMT"],
    [b"Origin: http://[::1", b"Referer: http://[\xff", b"X-Forwarded-For: \xff,,,"],
    [b"Expect: nonsense"],
    [b"Content-Type: text/plain; charset*=utf-8''a%00b"],
    [b"Content-Type: text/plain; charset*=nonsense''x"],
    [b"Content-Type: text/plain; x*=idna''%ff"],
]
BODIES = [
    (b"[" * 100_000, JSON),
    (b"9" * 5_000, JSON),
    (b'{"\\ud800": "\xff"}', JSON),
    (b"{}", b"Content-Type: application/json; charset=nonsense"),
    (b"a=%00&b=%ff", FORM),
    (b"a=1&" * 3_000, FORM),
    (b"a=b", FORM + b"; charset=\xff"),
    (b"--b\r\n" * 3_000, b"Content-Type: multipart/form-data; boundary=b"),
    (b"x", b"Content-Type: multipart/form-data; boundary=\xff"),
]
TEN_MB = b"x" * 10_000_000


def whole(method: bytes, path: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    lines = [
        b"%s %s HTTP/1.1" % (method, path),
        b"Host: localhost",
        b"Connection: close",
        b"Authorization: Bearer " + KEY,
    ]
    return b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + body


def requests() -> list[bytes]:
    made = []
    for path in PATHS:
        made += [whole(b"GET", path.rstrip(b"/") + b"/" + strange) for strange in IN_PATH]
        made += [whole(b"GET", path + b"?" + query) for query in IN_QUERY]
        made += [whole(b"GET", path, *headers) for headers in HEADERS]
        for body, kind in BODIES:
            made.append(whole(b"POST", path, kind, b"Content-Length: %d" % len(body), body=body))
    return made


def said_to(port: int, request: bytes, *, then_end: bool = False) -> Said:
    with connect(port) as connection:
        try:
            connection.sendall(request)
            if then_end:
                connection.shutdown(socket.SHUT_WR)
        except OSError:  # refused before all of it was sent
            pass
        return heard(connection, seconds=20)


def test_nothing_unreadable_is_a_fault_and_scripts_are_shown_what_is_wrong(ground):
    ground.sql(
        "INSERT INTO accounts_apikey (user_id, name, prefix, key_hash, created_at)"
        " SELECT min(id), 'key', 'hb_', %s, now() FROM accounts_user",
        [hashlib.sha256(KEY).hexdigest()],
    )
    api = b"/api/v1/groups/"
    chunked = b"Transfer-Encoding: chunked"
    with ground.web(HEARTBEAT_LOG_LEVEL="INFO", HEARTBEAT_LOG_JSON="false") as web:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda one: (one, said_to(web.port, one)), requests()))
        broken = {
            "10 MB": (413, said_to(web.port, whole(b"POST", api, JSON, b"Content-Length: 10000000", body=TEN_MB))),
            "no chunks": (400, said_to(web.port, whole(b"POST", api, JSON, chunked, body=b"zz\r\n{}\r\n0\r\n\r\n"))),
            "half a chunk": (400, said_to(web.port, whole(b"POST", api, JSON, chunked, body=b"5\r\n{"), then_end=True)),
            "a short body": (
                400,
                said_to(web.port, whole(b"POST", api, JSON, b"Content-Length: 9", body=b"{"), then_end=True),
            ),
            "NUL in the path": (400, said_to(web.port, whole(b"GET", api + b"%00/"))),
            "NUL in the query": (400, said_to(web.port, whole(b"GET", api + b"?search=%00"))),
            "too many fields": (400, said_to(web.port, whole(b"GET", api + b"?" + b"a=1&" * 3_000))),
        }
        log = web.log.read_text(errors="replace")

    statuses = Counter(said.status for _, said in answers)
    faults = [(one[:120], said.status) for one, said in answers if not 200 <= said.status < 500]
    assert faults == [], statuses
    assert {200, 400, 404, 405} <= set(statuses), f"not much was tried: {statuses}"
    for name, (status, said) in broken.items():
        assert (name, said.status) == (name, status)
        assert b"application/problem+json" in said.raw, name
    assert "Traceback" not in log
    assert all(one.isprintable() or one == "\n" for one in log)


def head_of(size: int, path: bytes = b"/Heartbeat/bench-1") -> bytes:
    """Return a request whose line and headers have so many bytes."""
    empty = b"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\nX: \r\n\r\n" % path
    return empty.replace(b"X: ", b"X: " + b"y" * (size - len(empty))) + b"{}"


def test_a_head_of_64_kib_is_taken_and_a_longer_one_is_not(ground):
    bound = 64 * 1024
    with ground.web() as web:
        within = [said_to(web.port, head_of(bound)), said_to(web.port, head_of(bound, b"/healthz"))]
        beyond = [said_to(web.port, head_of(bound + 1)), said_to(web.port, head_of(bound + 1, b"/healthz"))]
        encoded = said_to(web.port, whole(b"GET", b"/" + b"%41" * 21_800, b"X: " + b"y" * 100))
        far_beyond = [said_to(web.port, head_of(size)) for size in (70_000, 100_000, 1_000_000)]
        headers = [said_to(web.port, whole(b"GET", b"/healthz", *[b"X-%d: y" % n for n in range(m)])) for m in (97, 98)]

    assert within[0].status == 200
    assert within[1].status == 405
    assert [one.status for one in (*beyond, *far_beyond, encoded)] == [431] * 6
    assert b"at most 64 KiB" in beyond[0].raw
    assert [one.status for one in headers] == [200, 431], "a hundred with those of each request"


# Each cost seconds of the processor.
COSTLY_HEADERS = [
    b'Cookie: a="' + b"\\" * 60_000 + b'"',
    b'Cookie: a="' + b"\\1" * 30_000 + b'"',
    b'Content-Type: x;"' + b";" * 60_000,
    b"Content-Type: " + b";" * 60_000,
]


def test_no_header_takes_long_to_read(ground):
    with ground.web() as web:
        said_to(web.port, whole(b"GET", b"/login/"))
        requests = [
            whole(method, path, header)
            for path in (b"/login/", b"/api/v1/groups/", b"/r/x/", b"/healthz")
            for method in (b"GET", b"POST")
            for header in COSTLY_HEADERS
        ]
        # The fastest of three: whatever else the machine does, what costs seconds takes seconds each time.
        slow = [request[:80] for request in requests if all(said_to(web.port, request).seconds >= 1 for _ in range(3))]

    assert slow == []


def test_pings_are_mostly_recorded_whose_senders_say_at_once_that_they_send_no_more(ground):
    """The web server takes such a sender for gone; whichever comes first, the request or its end, decides."""
    ping = b"POST /Heartbeat/bench-7 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    count = "SELECT count(*) FROM integrations_ping"
    with ground.web() as web:
        before = ground.sql(count)[0][0]
        for _ in range(50):
            assert said_to(web.port, ping, then_end=True).status in {0, 200}
        until(lambda: ground.sql(count)[0][0] > before + 40, seconds=30, what="nearly all of 50 are recorded")


@pytest.mark.long
def test_half_a_body_to_a_page_ends_by_itself(ground):
    with ground.web() as web, connect(web.port) as half:
        half.sendall(whole(b"POST", b"/login/", FORM, b"Content-Length: 100", body=b"a="))
        said = heard(half, seconds=60)

    assert said.status == 408
    assert 25 < said.seconds < 40
