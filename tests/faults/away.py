"""A broker of its own beside the stack, the ways in which it can be away, and what is measured meanwhile."""

import contextlib
import math
import re
import shutil
import signal
import socket
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import redis

from embedded import valkey
from embedded.folders import open_data_folder
from embedded.process import stop
from embedded.servers import launch
from tests.faults.answering import answerable, expect_answers_work
from tests.processes import KEY, PostOffice, Stack, until
from tests.providers.twilio import Twilio

REQUEST_LINE = "[heartbeat.request]"
# Lines with which each process says once that the broker is away; the engine worker goes on with one a minute, and
# each of the others with one in ten minutes.
FIRST_LINES, LINES_A_MINUTE = 8, 1.5
# Begun each second, by whoever does.
PULSE = ("integrations.do_engine_work", "escalation.deliver_due")


class Broker:
    """A real Valkey in a folder of its own, which can be taken away and given back in several ways."""

    def __init__(self, place: Path) -> None:
        self.server = valkey.locate(open_data_folder(place / "broker"))
        self.log = (place / "broker.log").open("ab")
        self.start()

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> None:
        self.child = launch(self.server, output=self.log.fileno(), log_tail=lambda: "see broker.log")

    def client(self, password: str | None = None) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.server.socket),
            password=password or self.server.password,
            single_connection_client=True,
        )

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(signal.SIGCONT)
        stop(self.child, self.server.program)
        self.log.close()

    # -- the ways ---------------------------------------------------------------------------------------------------
    def take_away(self, way: str) -> Callable[[], None]:
        """Take the broker away in this way; return what gives it back."""
        return getattr(self, f"_{way}")()

    def _frozen(self) -> Callable[[], None]:
        self.child.send_signal(signal.SIGSTOP)
        return lambda: self.child.send_signal(signal.SIGCONT)

    def _killed(self) -> Callable[[], None]:
        self.child.kill()
        self.child.wait()
        return self.start

    def _full(self) -> Callable[[], None]:
        with self.client() as client:
            client.config_set("maxmemory", "1")
        return self._roomy

    def _roomy(self) -> None:
        with self.client() as client:
            client.config_set("maxmemory", "256mb")

    def _locked(self) -> Callable[[], None]:
        """Change the password, and throw everybody out."""
        with self.client() as client:
            client.config_set("requirepass", "another")
            client.client_kill_filter(_type="normal", skipme=True)
        return self._unlocked

    def _unlocked(self) -> None:
        with self.client("another") as client:
            client.config_set("requirepass", self.server.password)


@contextlib.contextmanager
def broker() -> Iterator[Broker]:
    place = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    place.chmod(0o755)
    one = Broker(place)
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def deaf_address() -> Iterator[str]:
    """The address of something that takes connections and never answers, as a frozen broker does."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1000)
        yield f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"


class DatedPostOffice(PostOffice):
    """A post office that notes when it took each message."""

    def __init__(self) -> None:
        super().__init__()
        self.taken_at: dict[str, float] = {}

    async def handle_DATA(self, server, session, message_id):  # noqa: N802 - the name aiosmtpd looks for
        answer = await super().handle_DATA(server, session, message_id)
        for address in message_id.rcpt_tos:
            self.taken_at.setdefault(address, time.time())  # noqa: TID251 - beside what the database's clock wrote
        return answer


@dataclass
class Figures:
    """What was measured; all in seconds but where it says otherwise."""

    seconds: float = 0.0
    deadline_to_alert: list[float] = field(default_factory=list)
    alert_to_message: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)
    twice: int = 0
    log_bytes_a_minute: float = 0.0
    log_lines_a_minute: float = 0.0
    most_repeated_line: tuple[str, int] = ("", 0)
    until_celery_ticks_again: float | None = None

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s, {len(self.deadline_to_alert)} alerts: deadline to alert at most "
            f"{max(self.deadline_to_alert, default=0):.2f} s, alert to message at most "
            f"{max(self.alert_to_message, default=0):.2f} s, {self.twice} twice; slowest request "
            f"{max(self.requests, default=0):.2f} s; log {self.log_bytes_a_minute:.0f} bytes and "
            f"{self.log_lines_a_minute:.1f} lines a minute, most often {self.most_repeated_line}; "
            f"ticks by Celery again after {self.until_celery_ticks_again}"
        )


_names = iter(range(10_000))


def measure(
    stack: Stack,
    post: DatedPostOffice,
    twilio: Twilio | None = None,
    *,
    seconds: float,
    at_once: int = 1,
    log_from: int | None = None,
) -> tuple[Figures, list[str]]:
    """Let heartbeats fall silent one after the other for so long; return figures, and who was notified.

    With `twilio`, somebody answers in each way, too. The log is measured from its byte `log_from` on, else from here.
    """
    figures, addresses = Figures(), []
    begun, mark = time.monotonic(), stack.log.stat().st_size if log_from is None else log_from
    while not addresses or time.monotonic() - begun < seconds:
        made = []
        for _ in range(at_once):
            name = f"away{next(_names)}"
            person = stack.person(name)
            made.append((name, stack.heartbeat(f"{name} job", recipients=[person], grace_minutes=0)))
            assert _timed(figures, partial(stack.ping, made[-1][1]["api_url"])) == 200
        for name, integration in made:
            address = f"{name}@example.com"
            until(partial(post.to, address), seconds=60, what=f"{address} is notified\n{stack.tail()}")
            [alert] = stack.alerts(integration["id"])
            [(deadline_at,)] = stack.sql(
                f"SELECT deadline_at FROM integrations_heartbeat WHERE integration_id = {integration['id']}"
            )
            opened_at = datetime.fromisoformat(alert["opened_at"])
            figures.deadline_to_alert.append((opened_at - deadline_at).total_seconds())
            figures.alert_to_message.append(post.taken_at[address] - opened_at.timestamp())
            _take_over_its_link(stack, post, address, figures)
            addresses.append(address)
        status, answer = _timed(figures, lambda: stack.get("/readyz"))
        assert (status, answer["status"], "broker" in answer["parts"]) == (200, "degraded", True), answer
        assert _timed(figures, lambda: _page(stack.url + "/admin/login/")) == 200
    if twilio is not None:
        addresses.append(expect_answers_work(stack, post, twilio, timed=partial(_timed, figures)))
    figures.seconds = time.monotonic() - begun
    with stack.log.open("rb") as log:
        log.seek(mark)
        lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if REQUEST_LINE not in line]
    figures.log_lines_a_minute = len(lines) / figures.seconds * 60
    figures.log_bytes_a_minute = sum(len(line) + 1 for line in lines) / figures.seconds * 60
    kinds = Counter(re.sub(r"\d+", "0", line) for line in lines)
    [figures.most_repeated_line] = kinds.most_common(1) or [("", 0)]
    return figures, addresses


def expect_in_time(figures: Figures, *, busy: float = 1.0) -> None:
    """Expect what docs/reliability.md promises without the broker; `busy` is for a machine that others use, too."""
    assert max(figures.deadline_to_alert) <= 3 * busy, figures
    assert max(figures.alert_to_message) <= 2 * busy, figures
    assert max(figures.requests) < 1 * busy, figures
    assert figures.twice == 0, figures


def expect_few_lines(figures: Figures) -> None:
    """Expect that nothing is said more than once a minute, and little in all."""
    minutes = figures.seconds / 60
    assert figures.most_repeated_line[1] <= 1 + math.ceil(minutes), figures
    assert figures.log_lines_a_minute * minutes <= FIRST_LINES + LINES_A_MINUTE * minutes, figures


def alone(stack: Stack, *, seconds: float = 10) -> None:
    """Wait until the workers tick by themselves."""
    before = ticks(stack)
    until(
        lambda: all(now[1] > before[task][1] for task, now in ticks(stack).items()),
        seconds=seconds,
        what=f"ticks by themselves\n{stack.tail()}",
    )


@contextlib.contextmanager
def stack_with(post: DatedPostOffice, address: str, twilio: Twilio) -> Iterator[Stack]:
    """Run a stack whose broker has this address, and expect that it stops in time."""
    place = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    place.chmod(0o755)
    stack = Stack(folder=place / "data", env={"EMAIL_URL": post.url, "REDIS_URL": address, **answerable(twilio)})
    try:
        stack.start(seconds=180)
        yield stack
    finally:
        begun = time.monotonic()
        if stack.process is not None and stack.process.poll() is None:
            stack.stop()
        assert "did not stop in time" not in stack.log.read_text("utf-8", "replace")
        assert time.monotonic() - begun < 30
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def provider() -> Iterator[Twilio]:
    """Run Twilio's place within the block."""
    twilio = Twilio()
    try:
        yield twilio
    finally:
        twilio.close()


def settle(stack: Stack, post: DatedPostOffice, figures: Figures, addresses: list[str], *, seconds: float) -> None:
    """Wait so long after the broker's return, and count what came twice."""
    time.sleep(seconds)
    for address in addresses:
        pages = [message for message in post.to(address) if "is silent" in str(message["Subject"])]
        figures.twice += len(pages) - 1


def notices(post: PostOffice) -> int:
    """Return how often the operator was notified that the broker is away."""
    return sum("without its broker" in str(message["Subject"]) for message in post.messages)


def ticks(stack: Stack) -> dict[str, tuple[int, int]]:
    """Return for each of the second's ticks how many came by Celery, and how many by itself."""
    rows = stack.sql("SELECT task, by_celery, by_itself FROM integrations_tick")
    return {task: (by_celery, by_itself) for task, by_celery, by_itself in rows if task in PULSE}


def celery_ticks_again(stack: Stack, *, seconds: float) -> float:
    """Wait until all of the second's ticks come by Celery, and return after how many seconds they did."""
    begun, before = time.monotonic(), ticks(stack)
    until(
        lambda: all(now[0] > before[task][0] + 1 for task, now in ticks(stack).items()),
        seconds=seconds,
        what=f"ticks by Celery: {before}, {ticks(stack)}\n{stack.tail()}",
        every=0.5,
    )
    return time.monotonic() - begun


def _page(address: str) -> int:
    with urllib.request.urlopen(address, timeout=15) as answer:
        return answer.status


def _timed(figures: Figures, call):
    begun = time.monotonic()
    answer = call()
    figures.requests.append(time.monotonic() - begun)
    return answer


def _take_over_its_link(stack: Stack, post: DatedPostOffice, address: str, figures: Figures) -> None:
    """Open the message's link, and acknowledge over the API with the owner's key."""
    text = post.to(address)[0].get_body(("plain",)).get_content()
    [link, *_] = re.findall(rf"{re.escape(stack.url)}/r/\S+", text)
    assert _timed(figures, lambda: _page(link)) == 200
    [number] = re.findall(r"#(\d+)", str(post.to(address)[0]["Subject"]))
    status, answer = _timed(figures, lambda: stack.call("POST", f"/api/v1/alerts/{number}/acknowledge/", {}, key=KEY))
    assert status == 200, answer
