"""Heartbeat stands still for minutes: the operator is mailed once while it lasts, and once when it is over."""

import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from heartbeat_project.kernel import clock
from tests.figures import record_figure
from tests.processes import DeadMansSwitch, PostOffice, Stack, until

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.serial, pytest.mark.long]

LIMIT = 120.0
# Progress is written each 5 s and old after 15; looks are 10 s apart, and a probe in vain takes 4 s.
SEEN_LATER = 45.0
LASTS = 190.0
# Progress is old after 15 s, and the look after that silences the watchdog.
PINGS_STOP = 45.0
BEGAN, OVER = "Heartbeat stands still: people may not be notified", "Heartbeat works again"


@pytest.fixture
def post():
    with PostOffice() as office:
        yield office


@pytest.fixture
def switch():
    with DeadMansSwitch() as switch:
        yield switch


@contextmanager
def started(place: Path, post: PostOffice, switch: DeadMansSwitch) -> Iterator[Stack]:
    env = {"EMAIL_URL": post.url, "HEARTBEAT_OPERATOR_EMAIL": "ops@example.com", "HEARTBEAT_WATCHDOG_URL": switch.url}
    stack = Stack(folder=place / "data", env={**env, "HEARTBEAT_STANDSTILL_SECONDS": str(LIMIT)})
    try:
        stack.start(seconds=180)
        yield stack
    finally:
        if stack.process is not None and stack.process.poll() is None:
            stack.stop()


@pytest.fixture
def place():
    """A folder that a service account can reach."""
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def small_disk(place):
    """A disk of its own for the data folder."""
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("only root can mount a small disk")
    place.chmod(0o755)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def to_the_operator(post: PostOffice):
    return post.to("ops@example.com")


def subjects(post: PostOffice) -> list[str]:
    return [str(message["Subject"]) for message in to_the_operator(post)]


def expect_mails(
    post: PostOffice, switch: DeadMansSwitch, stack: Stack, fault, fault_name: str, *, saying: str, lasts: float = LASTS
) -> None:
    """Let a fault last, and expect one mail while it does and one after it; print when they came."""
    time.sleep(25)  # one look of each process at least, at which all is well
    assert switch.pings, "the watchdog is pinged while all is well"
    began = clock.now().timestamp()
    with fault:
        until(lambda: to_the_operator(post), seconds=LIMIT + SEEN_LATER, what=f"the operator is mailed\n{stack.tail()}")
        time.sleep(max(0.0, began + lasts - clock.now().timestamp()))
        assert subjects(post) == [BEGAN]
        late = time.monotonic() - (lasts - PINGS_STOP)
        assert [at for _, at in switch.pings if at > late] == [], "the watchdog is not pinged"
    before = len(switch.pings)
    ended = clock.now().timestamp()
    until(lambda: len(to_the_operator(post)) > 1, seconds=180, what=f"and that it is over\n{stack.tail()}")
    time.sleep(30)
    assert subjects(post) == [BEGAN, OVER]
    until(lambda: len(switch.pings) > before, seconds=90, what="the watchdog is pinged again")
    begun, over = to_the_operator(post)
    assert saying in begun.get_content()
    after = [parsedate_to_datetime(str(mail["Date"])).timestamp() for mail in (begun, over)]
    record_figure(fault_name, "operator mailed after it began", after[0] - began, unit="s", at_most=LIMIT + SEEN_LATER)
    record_figure(fault_name, "and that it is over, after its end", after[1] - ended, unit="s", at_most=180)
    record_figure(fault_name, "mails in all", len(after), unit="", at_most=2)


@contextmanager
def full(place: Path) -> Iterator[None]:
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()


class Sender:
    """A job that pings, and what it was answered."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.job = stack.heartbeat("nightly", interval_minutes=60)
        self.statuses: list[int] = []

    def ping(self) -> int:
        self.statuses.append(self.stack.ping(self.job["api_url"]))
        return self.statuses[-1]

    @contextmanager
    def refused(self, fault) -> Iterator[None]:
        """Expect that pings are refused while the fault lasts."""
        assert self.ping() == 200
        with fault:
            until(lambda: self.ping() == 503, seconds=60, what=f"pings are refused\n{self.stack.tail()}")
            yield
            assert [self.ping() for _ in range(5)] == [503] * 5

    def expect_nothing_lost(self) -> None:
        """Expect that pings are taken again, and that each one that was answered 200 is stored."""
        until(lambda: self.ping() == 200, seconds=60, what=f"pings are taken again\n{self.stack.tail()}")
        assert set(self.statuses) == {200, 503}
        query = f"SELECT count(*) FROM integrations_ping WHERE integration_id = {self.job['id']}"
        [(stored,)] = self.stack.sql(query)
        assert stored >= self.statuses.count(200)


@contextmanager
def in_a_crash_loop(stack: Stack) -> Iterator[None]:
    """Take the web server's port as soon as it is free: each new one ends at once."""
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stack.kill("web")

        def taken() -> bool:
            try:
                taker.bind(("127.0.0.1", stack.port))
            except OSError:
                return False
            taker.listen()
            return True

        until(taken, seconds=10, what="the port is free", every=0.01)
        yield


@contextmanager
def silent_while_delivery_is_frozen(stack: Stack) -> Iterator[None]:
    person = stack.person("ana")
    stack.heartbeat("backup", recipients=[person])
    with stack.frozen("delivery"):
        yield


def test_a_database_that_answers_nothing(place, post, switch):
    with started(place, post, switch) as stack:
        expect_mails(
            post, switch, stack, stack.frozen("postgres"), "database frozen for 3 minutes", saying="cannot", lasts=180
        )


def test_a_full_disk_which_also_refuses_pings_and_loses_none(small_disk, post, switch):
    with started(small_disk, post, switch) as stack:
        sender = Sender(stack)
        expect_mails(post, switch, stack, sender.refused(full(small_disk)), "disk full", saying="is full")
        sender.expect_nothing_lost()


def test_a_web_server_that_ends_at_once_again_and_again(place, post, switch):
    with started(place, post, switch) as stack:
        expect_mails(post, switch, stack, in_a_crash_loop(stack), "web server in a crash loop", saying="")


def test_a_delivery_worker_that_is_frozen_while_a_message_is_due(place, post, switch):
    with started(place, post, switch) as stack:
        expect_mails(
            post,
            switch,
            stack,
            silent_while_delivery_is_frozen(stack),
            "delivery worker frozen",
            saying="Messages are due, and none leaves",
        )
