"""Nonsense over raw sockets: no 5xx, no dead process, nothing in the log, and ordinary pings stay quick."""

import os
import random
import re
import socket
import struct
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.faults.nonsense import drawn
from tests.faults.wire import Said, connect, heard, ping

pytestmark = pytest.mark.serial

SECONDS, CLIENTS = 20, 12
STATUS = re.compile(rb"(?:^|\r\n\r\n|[}\n])HTTP/1\.[01] (\d{3}) ")
# Give the seed of a failure here to have the same again.
SEED = os.environ.get("FUZZ_SEED") or str(random.SystemRandom().randrange(10**9))


def test_nonsense_is_refused_and_nothing_dies_of_it(ground):
    numbers, statuses, failed = count(), Counter(), defaultdict(list)
    with ground.web(workers=1) as web:
        before = web.pids()
        assert ping(web.port).status == 200
        left: list[socket.socket] = []
        end = time.monotonic() + SECONDS

        def attack_on() -> None:
            while time.monotonic() < end:
                seed = f"{SEED}-{next(numbers)}"
                said = sent(web.port, seed, left)
                answered = [int(status) for status in STATUS.findall(said.raw)]
                statuses.update(answered)
                for status in answered:
                    if status >= 500:
                        failed[drawn(seed).name].append((seed, status))

        with ThreadPoolExecutor(CLIENTS) as pool:
            for running in [pool.submit(attack_on) for _ in range(CLIENTS)]:
                running.result()
        after = ping(web.port, seconds=10)
        for one in left:
            one.close()
        alive, log = web.pids(), web.log.read_text(errors="replace")

    why = f"FUZZ_SEED={SEED}, {next(numbers)} attacks, {dict(statuses)}"
    assert not failed, f"{why}: {dict(failed)}"
    assert alive == before, why
    assert after.status == 200, why
    assert after.seconds < 2, why
    # Django tells of each strange Host at length; that is no fault.
    told = "\n".join(line for line in log.splitlines() if "DisallowedHost" not in line)
    for word in ("Traceback", "panicked", "ERROR", '"level": "error"'):
        assert word not in told, f"{why}\n{told[max(0, told.index(word) - 2000) :][:6000]}"
    assert set(statuses) >= {200, 400, 404, 405, 413}, f"not much was tried: {why}"


def sent(port: int, seed: str, left: list[socket.socket]) -> Said:
    """Carry one attack out and return what came back."""
    attack = drawn(seed)
    connection = connect(port)
    try:
        for part in attack.parts:
            connection.sendall(part)
            if attack.pause:
                time.sleep(attack.pause)
    except OSError:  # refused in the middle; what was said before still counts
        pass
    if attack.end == "leave" and len(left) < 200:
        left.append(connection)
        return Said(b"", closed=False)
    with connection:
        if attack.end == "half-close":
            try:
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                return Said(b"", closed=True)
        if attack.end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return Said(b"", closed=True)
        return heard(connection, seconds=0.5)
