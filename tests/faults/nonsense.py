"""What no well-behaved client sends: requests that are broken, hostile, endless or half, drawn from a seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.wire import request

MIB = 1024 * 1024
PATH = b"/Heartbeat/bench-1"


@dataclass(frozen=True)
class Attack:
    """Parts to send, the pause between them in seconds, and how it ends: hear, half-close, reset, leave."""

    name: str
    parts: tuple[bytes, ...]
    pause: float = 0.0
    end: str = "hear"


def drawn(seed: str) -> Attack:
    """Return the attack of this seed."""
    pick = random.Random(seed)
    made = pick.choice(ATTACKS)(pick)
    name, parts = made[0], made[1:]
    end = pick.choice(["hear"] * 6 + ["half-close", "half-close", "reset", "leave"])
    if pick.random() < 0.1:  # anything can also come slowly
        whole = b"".join(parts)[:4096]
        step = max(1, len(whole) // 40)
        return Attack(name, tuple(whole[at : at + step] for at in range(0, len(whole), step)), pause=0.02, end=end)
    return Attack(name, parts, end=end)


Made = tuple[str, *tuple[bytes, ...]]


def token(pick: random.Random, *, most: int = 20) -> bytes:
    return pick.randbytes(pick.randint(1, most)).replace(b"\r", b"").replace(b"\n", b"") or b"x"


def post(path: bytes = PATH, *headers: bytes, body: bytes = b"", method: bytes = b"POST", version: bytes = b"1.1"):
    lines = [b"%s %s HTTP/%s" % (method, path, version), b"Host: localhost", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def random_bytes(pick: random.Random) -> Made:
    return "random bytes", pick.randbytes(pick.randint(1, 4096))


def another_protocol(pick: random.Random) -> Made:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + pick.randbytes(500)
    frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for _ in range(pick.randint(0, 20)):
        payload = pick.randbytes(pick.randint(0, 100))
        size = pick.choice([len(payload), 0, 0xFFFFFF]).to_bytes(3, "big")
        frames += size + pick.randbytes(2) + pick.choice([b"\0\0\0\0", b"\0\0\0\1", pick.randbytes(4)]) + payload
    proxy = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + request()
    return "another protocol", pick.choice([hello, frames, proxy, b"\0" * 100, b"GET /\r\n", b"\r\n" * 1000])


def mutated(pick: random.Random) -> Made:
    whole = bytearray(request(head=b"X-Forwarded-For: 192.0.2.1\r\nContent-Type: application/json\r\n"))
    for _ in range(pick.randint(1, 6)):
        at = pick.randrange(len(whole))
        match pick.randrange(4):
            case 0:
                whole[at] = pick.randrange(256)
            case 1:
                del whole[at : at + pick.randint(1, 10)]
            case 2:
                whole[at:at] = pick.randbytes(pick.randint(1, 10))
            case _:
                whole[at:at] = whole[at : at + pick.randint(1, 50)]
        if not whole:
            whole += b"\r"
    return "mutated", bytes(whole)


def strange_path(pick: random.Random) -> Made:
    start = pick.choice([b"/Heartbeat/", b"/heartbeat/", b"/Heartbeat//", b"//Heartbeat/", b"/%48eartbeat/", b"/", b""])
    rest = pick.choice(
        [
            *(b"%00", b"%", b"%zz", b"%ff%fe", b"%c0%ae%c0%ae", b"%ed%a0%80", b"..%2f..%2fetc", b"bench-1%0d%0aX: y"),
            *(b"bench-1/", b"bench-1//", b"bench-1?" + b"a=b&" * 5_000, b"bench-1#x", b"bench-1;x", b"\xe2\x98\xa0"),
            *(b"a" * pick.randint(1, 70_000), b"%41" * pick.randint(1, 20_000), token(pick, most=200)),
            *(b"*", b"http://localhost/Heartbeat/bench-1", b"localhost:443", b"' OR 1=1 --", b"${jndi:x}", b"\t", b" "),
        ]
    )
    return "strange path", post(start + rest, b"Content-Length: 0")


def strange_method(pick: random.Random) -> Made:
    names = [b"BREW", b"post", b"CONNECT", b"TRACE", b"OPTIONS", b"PRI", b"M" * 70_000, b"", b"P\0ST", b"GET", b"HEAD"]
    method = pick.choice([*names, token(pick)])
    return "strange method", post(pick.choice([PATH, b"*", b"/"]), b"Content-Length: 0", method=method)


def strange_version(pick: random.Random) -> Made:
    version = pick.choice([b"0.9", b"1.0", b"2.0", b"9.9", b"1.11", b"", token(pick)])
    return "strange version", post(PATH, b"Content-Length: 0", version=version)


def strange_headers(pick: random.Random) -> Made:
    addresses = [b"unknown", b"1.2.3.4.5", b"::ffff:999.1.1.1", b"fe80::1%eth0", b"\0", b"," * 5_000, b"a" * 10_000]
    several = [
        [b"X-Forwarded-For: " + pick.choice([*addresses, token(pick)]), b"X-Real-IP: " + pick.choice(addresses)],
        [b"Forwarded: for=" + pick.choice(addresses), b"X-Forwarded-Proto: " + token(pick)],
        [b"X-%d: %s" % (number, b"y" * 10) for number in range(pick.choice([90, 101, 1_000]))],
        [b"X-Long: " + b"z" * pick.choice([8_000, 60_000, 70_000, 500_000])],
        [b"N" * pick.choice([300, 70_000]) + b": x"],
        [token(pick) + b": " + token(pick)],
        [b"No colon", b": no name", b"Space : x", b" folded: x"],
        [b"Host: " + pick.choice([b"", b"evil\0", b"[::1", b"a" * 5_000, b"localhost:99999999"])],
        [b"Expect: " + pick.choice([b"100-continue", b"nonsense"])],
        [b"Connection: Upgrade", b"Upgrade: " + pick.choice([b"h2c", b"websocket", b"x"]), b"Sec-WebSocket-Key: x"],
        [b"Connection: " + pick.choice([b"close", b"keep-alive, close", b"content-length", b"\0"])],
        [b"Content-Type: " + token(pick), b"Content-Encoding: gzip", b"Accept: " + b"*/*;q=" * 1_000],
        [b"Cookie: heartbeat_session=" + token(pick, most=4_000), b"Authorization: Bearer " + token(pick)],
    ]
    return "strange headers", post(PATH, *pick.choice(several), b"Content-Length: 2", body=b"{}")


def strange_length(pick: random.Random) -> Made:
    lengths = [
        b"-1",
        b"+2",
        b"1e3",
        b"0x2",
        b"2, 2",
        b"2, 3",
        b"",
        b"99999999999999999999",
        b"9" * 5_000,
        b"\xb2",
        b" 2 ",
    ]
    headers = [b"Content-Length: " + pick.choice([*lengths, token(pick)])]
    if pick.random() < 0.5:
        headers.append(pick.choice([b"Content-Length: 2", b"Content-Length: 3", b"Transfer-Encoding: chunked"]))
    return "strange length", post(PATH, *headers, body=pick.choice([b"", b"{}", b"0\r\n\r\n"]))


def strange_chunks(pick: random.Random) -> Made:
    coding = pick.choice([b"chunked"] * 4 + [b"gzip, chunked", b"chunked, identity", b"xchunked", b"Chunked", b"\0"])
    chunks = [
        *(
            b"2\r\n{}\r\n0\r\n\r\n",
            b"2\r\n{}\r\n",
            b"2\r\n{",
            b"2\n{}\n0\n\n",
            b"zz\r\n{}\r\n",
            b"-2\r\n{}\r\n0\r\n\r\n",
        ),
        *(b"ffffffffffffffff\r\n{}", b"fffffffffffffffff\r\n{}", b"2;" + b"x" * 70_000 + b"\r\n{}\r\n0\r\n\r\n"),
        *(b"2\r\n{}XX0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n" + b"X: y\r\n" * 3_000 + b"\r\n", b"\r\n", b"0" * 5_000),
        pick.randbytes(300),
    ]
    return "strange chunks", post(PATH, b"Transfer-Encoding: " + coding), pick.choice(chunks)


def half_a_body(pick: random.Random) -> Made:
    return "half a body", post(PATH, b"Content-Length: 1000", body=b"x" * pick.randint(0, 999))


def half_a_head(pick: random.Random) -> Made:
    whole = request()
    return "half a head", whole[: pick.randrange(1, len(whole) - 3)]


def more_than_it_said(pick: random.Random) -> Made:
    return "more than it said", request() + pick.randbytes(pick.randint(1, 2_000))


def large_body(pick: random.Random) -> Made:
    size = pick.choice([MIB, MIB + 1, 3 * MIB])
    if pick.random() < 0.5:
        return "large body", post(PATH, b"Content-Length: %d" % size), b"x" * size
    step = pick.choice([1_000, 65_536, MIB])
    parts = [b"%x\r\n%s\r\n" % (step, b"x" * step) for _ in range(size // step + 1)]
    return "large body in chunks", post(PATH, b"Transfer-Encoding: chunked"), *parts, b"0\r\n\r\n"


def pipelined(pick: random.Random) -> Made:
    kinds = [
        request(pick.randint(1, 2_000)),
        post(PATH, method=b"GET"),
        post(PATH, method=b"HEAD"),
        post(PATH, method=b"PUT"),
        post(b"/Heartbeat/unknown", b"Content-Length: 0"),
        post(b"/healthz", method=b"GET"),
        post(PATH, b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
    ]
    return "pipelined", b"".join(pick.choices(kinds, k=pick.randint(2, 40)))


ATTACKS: list[Callable[[random.Random], Made]] = [
    random_bytes,
    another_protocol,
    mutated,
    mutated,
    strange_path,
    strange_path,
    strange_method,
    strange_version,
    strange_headers,
    strange_headers,
    strange_length,
    strange_chunks,
    strange_chunks,
    half_a_body,
    half_a_head,
    more_than_it_said,
    large_body,
    pipelined,
]
