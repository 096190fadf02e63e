"""Nonsense over raw sockets: no 5xx, no dead process, nothing in the log, ordinary pings stay quick.

Each connection comes from an address of its own, so the rows of its pings are known: what it was answered 200 is stored,
and nothing else of it is.
"""

import os
import random
import re
import socket
import struct
import sys
import time
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

import pytest

from heartbeat_project.kernel import clock
from tests.faults.nonsense import Attack, drawn
from tests.faults.wire import connect, heard, loopback, ping, request
from tests.figures import record_figure
from tests.processes import how_busy

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loopback has one address"),
]

CLIENTS = 16
OPEN_SECONDS, MAX_OPEN = 2.0, 600  # how long connections are held that the server leaves open, and how many
STATUS = re.compile(rb"(?:^|\r\n\r\n|[}\n])HTTP/1\.[01] (\d{3}) ")
RECEIVED_AT = re.compile(rb'"received_at":"([^"]+)"')
# Give the seed of a failure here to have the same again.
SEED = os.environ.get("FUZZ_SEED") or str(random.SystemRandom().randrange(10**9))
GOOD = 200_000  # the number of the first good client's address; those of attacks are below


@dataclass
class Said:
    """One attack, and what came back; `cut` says that we ended the connection before all could come.

    `left_at` is when we ended one that the server left open.
    """

    seed: str
    name: str
    source: str
    raw: bytes = b""
    cut: bool = False
    left_at: datetime | None = None

    def misses(self, rows: Counter[datetime], *, slowest: float) -> bool:
        """Return whether a row was not answered, although we waited longer than the slowest ping took."""
        all_before = (self.left_at or clock.now()) - timedelta(seconds=slowest)
        return not self.cut and any(at < all_before for at in rows - self.stored)

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in STATUS.findall(self.raw)]

    @property
    def stored(self) -> Counter[datetime]:
        """Return the times of receipt that the answers name."""
        return Counter(datetime.fromisoformat(at.decode()) for at in RECEIVED_AT.findall(self.raw))


@dataclass
class Attackers:
    """Carry out attack after attack; connections that go on are held a while, for what still comes."""

    port: int
    numbers: "count[int]" = field(default_factory=count)
    said: list[Said] = field(default_factory=list)
    open: deque[tuple[float, socket.socket, Said]] = field(default_factory=deque)

    def attack_on(self, *, until: float) -> None:
        while time.monotonic() < until:
            number = next(self.numbers)
            attack = drawn(f"{SEED}-{number}")
            said = Said(f"{SEED}-{number}", attack.name, loopback(number))
            self.said.append(said)
            self.carry_out(attack, said)
            self.listen_to_the_oldest()

    def listen_to_the_oldest(self) -> None:
        while len(self.open) > MAX_OPEN or (self.open and self.open[0][0] + OPEN_SECONDS < time.monotonic()):
            try:
                since, connection, said = self.open.popleft()
            except IndexError:  # another thread took the last
                return
            time.sleep(max(0.0, since + OPEN_SECONDS - time.monotonic()))
            self.listen(connection, said)

    def carry_out(self, attack: Attack, said: Said) -> None:
        connection = connect(self.port, source=said.source)
        try:
            for part in attack.parts:
                connection.sendall(part)
                if attack.pause:
                    time.sleep(attack.pause)
            if attack.end == "half-close":
                # The web server takes its sender for gone; what it has read by then is stored, and may not be answered.
                said.cut = True
                connection.shutdown(socket.SHUT_WR)
        except OSError:  # refused in the middle; what was said before still counts
            pass
        if attack.end == "reset":
            said.cut = True
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return
        heard_now = heard(connection, seconds=0.0 if attack.end == "leave" else 0.2)
        said.raw += heard_now.raw
        if heard_now.closed:
            connection.close()
        else:
            self.open.append((time.monotonic(), connection, said))

    def listen(self, connection: socket.socket, said: Said) -> None:
        """Add what came since, and close."""
        with connection:
            connection.setblocking(False)
            said.left_at = clock.now()
            try:
                while part := connection.recv(65_536):
                    said.raw += part
            except OSError:  # no more, or reset after what was read
                pass


@dataclass
class Good:
    """Ping all the time, in turns over a connection that is kept and over new ones."""

    port: int
    raw: bytes = b""
    sent: int = 0
    slowest: float = 0.0
    failed: list[bytes] = field(default_factory=list)

    def ping_on(self, *, until: float) -> None:
        with connect(self.port, source=loopback(GOOD)) as kept:
            while time.monotonic() < until:
                self.ping(kept)
                with connect(self.port, source=loopback(GOOD)) as new:
                    self.ping(new)
                time.sleep(0.02)

    def ping(self, connection: socket.socket) -> None:
        connection.sendall(request(2_000))
        self.sent += 1
        began, said = time.monotonic(), b""
        connection.settimeout(10)
        while not said.endswith(b"}"):
            part = connection.recv(65_536)
            if not part:
                break
            said += part
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.raw += said
        if not said.startswith(b"HTTP/1.1 200 "):
            self.failed.append(said)


@pytest.mark.parametrize(
    ("loop", "seconds"),
    [
        ("uvloop", 6),
        pytest.param("uvloop", 120, marks=pytest.mark.long),
        pytest.param("asyncio", 60, marks=pytest.mark.long),
    ],
)
def test_nonsense_is_refused_and_nothing_dies_of_it(ground, loop, seconds):
    ground.sql("TRUNCATE integrations_ping")
    # A proxy that is not named: nobody's X-Forwarded-For says where a ping came from.
    with ground.web(options=("--loop", loop)) as web:
        before = web.pids()
        assert ping(web.port).status == 200
        attackers, good = Attackers(web.port), Good(web.port)
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            running = [pool.submit(attackers.attack_on, until=end) for _ in range(CLIENTS)]
            running.append(pool.submit(good.ping_on, until=end))
            for one in running:
                one.result()
        after = ping(web.port, seconds=10)
        # Everything that was sent is answered by now, or never will be: later pings are.
        for _, connection, said in attackers.open:
            attackers.listen(connection, said)
        alive, log = web.pids(), web.log.read_text(errors="replace")

    statuses = Counter(status for said in attackers.said for status in said.statuses)
    why = f"FUZZ_SEED={SEED}, {len(attackers.said)} attacks, {dict(statuses)}"
    failed = [(said.name, said.seed) for said in attackers.said if any(status >= 500 for status in said.statuses)]
    assert not failed, f"{why}: {failed[:20]}"
    assert alive == before, why
    assert after.status == 200, why
    assert not good.failed, why
    assert after.seconds < 2 * how_busy(), why
    # Django logs each strange Host at length; that is no fault.
    output = "\n".join(line for line in log.splitlines() if "DisallowedHost" not in line)
    for word in ("Traceback", "panicked", "ERROR", '"level": "error"'):
        assert word not in output, f"{why}\n{output[max(0, output.index(word) - 2000) :][:6000]}"
    assert set(statuses) >= {200, 400, 404, 405, 413}, f"not much was tried: {why}"
    compare(ground, attackers.said, good, fault=f"nonsense for {seconds} s on {loop}", why=why)


def compare(ground, attacks: list[Said], good: Good, *, fault: str, why: str) -> None:
    """Expect what was answered 200 in the table, under the address that sent it, and nothing else."""
    rows: defaultdict[str, Counter[datetime]] = defaultdict(Counter)
    for source, at in ground.sql("SELECT host(source_ip), received_at FROM integrations_ping"):
        rows[source][at] += 1
    lost = [(said.name, said.seed) for said in attacks if said.stored - rows[said.source]]
    more = [(said.name, said.seed) for said in attacks if said.misses(rows[said.source], slowest=good.slowest)]
    assert not lost, f"{why}: answered 200 and not stored: {lost[:20]}"
    assert not more, f"{why}: stored and not answered 200: {more[:20]}"
    answered = Said("", "", loopback(GOOD), good.raw).stored
    assert answered.total() == good.sent
    assert rows[loopback(GOOD)] == answered
    stored = sum(rows[said.source].total() for said in attacks)
    record_figure(fault, f"5xx to {len(attacks):,} attacks, {stored:,} pings of them stored", 0, unit="", at_most=0)
    record_figure(fault, f"slowest of {good.sent:,} ordinary pings", good.slowest, unit="s", at_most=2 * how_busy())
