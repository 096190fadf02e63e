"""The real thing for tests: all processes of the product in a folder of their own, and a real SMTP server."""

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import default as mail_policy
from pathlib import Path
from typing import Any, Self

import psycopg
import redis
from aiosmtpd.controller import Controller

from embedded import postgres, valkey
from embedded.folders import open_data_folder

ROOT = Path(__file__).resolve().parents[1]
KEY = "hb_end-to-end-key-of-the-first-owner"
# What each process shows in its command line.
MARKS = {
    "postgres": "postgres.conf",
    "web": "heartbeat_project.asgi",
    "engine": "-Q\0engine",
    "delivery": "-Q\0delivery",
    "beat": "\0beat\0",
    "mail": "integrations.smtp",
    "valkey": "valkey-server",
}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def until(true: Callable[[], Any], *, seconds: float, what: str, every: float = 0.1) -> Any:
    """Wait until `true()` is, and return it; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(every)


def how_busy() -> float:
    """Return by how much others who share the cores slow us down, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def memory_mib(pid: int) -> float:
    """Return how much memory a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def descriptors(pid: int) -> int:
    """Return how many files and connections a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


class PostOffice:
    """A real SMTP server that keeps what it is given; it can be asked to hang or to refuse."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.connections = 0
        self.hanging = threading.Event()
        self.released = threading.Event()
        self.refusal = ""
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port())

    async def handle_DATA(self, server, session, message_id):  # noqa: N802 - the name aiosmtpd looks for
        import asyncio

        if self.hanging.is_set():
            self.connections += 1
            while self.hanging.is_set():
                await asyncio.sleep(0.05)
            return "451 try again"
        if self.refusal:
            return self.refusal
        self.messages.append(BytesParser(policy=mail_policy).parsebytes(message_id.content))
        return "250 kept"

    def to(self, address: str) -> list[Message]:
        return [message for message in self.messages if address in str(message["To"])]

    def __enter__(self) -> Self:
        self.controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hanging.clear()
        self.controller.stop()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.controller.port}"


class DeadMansSwitch:
    """A real web server that remembers which pings came, and when by time.monotonic()."""

    def __init__(self) -> None:
        self.pings: list[tuple[str, float]] = []
        self.answers = {"POST": 200, "GET": 200}
        switch = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                switch.pings.append((self.command, time.monotonic()))
                self.send_response(switch.answers[self.command])
                self.end_headers()

            do_POST = do_GET = answer  # noqa: N815 - names that the library looks for

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/Heartbeat/secret-token"


@dataclass
class Stack:
    """All processes, started as `script/server` starts them."""

    folder: Path
    env: dict[str, str]
    port: int = field(default_factory=free_port)
    open_files: int | None = None  # the limit of each process; None: the machine's own
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    def start(self, *, seconds: float = 60) -> float:
        """Start everything and return after how many seconds `/readyz` answered 200."""
        clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        started = time.monotonic()
        with self.log.open("ab") as log:
            limited = ["/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', str(self.open_files)] if self.open_files else []
            self.process = subprocess.Popen(
                [*limited, sys.executable, "-m", "embedded.stack"],
                cwd=ROOT,
                env={
                    **clean,
                    "HEARTBEAT_DATA_DIR": str(self.folder),
                    "HEARTBEAT_PORT": str(self.port),
                    "HEARTBEAT_SMTP_PORT": "0",
                    "HEARTBEAT_OWNER_EMAIL": "owner@example.com",
                    "HEARTBEAT_OWNER_PASSWORD": "a long enough password",
                    "HEARTBEAT_OWNER_API_KEY": KEY,
                    **self.env,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self.ready, seconds=seconds, what=f"ready\n{self.tail()}")
        return time.monotonic() - started

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.tail()
        with contextlib.suppress(OSError):
            return self.get("/readyz")[0] == 200
        return False

    def tail(self) -> str:
        return self.log.read_text("utf-8", "replace")[-6000:]

    def stop(self, *, seconds: float = 60) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def manage(self, *arguments: str) -> str:
        """Return what a management command says, run as `script/manage` runs it."""
        command = [sys.executable, "-m", "embedded.manage", *arguments]
        clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        env = {**clean, "HEARTBEAT_DATA_DIR": str(self.folder), "HEARTBEAT_PORT": str(self.port), **self.env}
        return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=60).stdout

    # -- its processes --------------------------------------------------------------------------------------------
    def pid(self, name: str) -> int | None:
        """Return the process id of the supervisor's child with this name, if it runs now."""
        assert self.process is not None
        top = self.process.pid
        children = Path(f"/proc/{top}/task/{top}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{child}/cmdline").read_text()
                program = command.split("\0")[0]
                if MARKS[name] in command or Path(program).name == name:
                    return int(child)
        return None

    def kill(self, name: str) -> int:
        """Kill a process with SIGKILL, its own children too, and return its id."""
        pid = until(lambda: self.pid(name), seconds=10, what=f"{name} runs")
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if name != "postgres":
                    os.kill(int(child), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a process and its children, which then answer nothing and end nothing."""
        pid = until(lambda: self.pid(name), seconds=10, what=f"{name} runs")
        pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        for each in pids:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in pids:
                os.kill(each, signal.SIGCONT)

    def comes_back(self, name: str, *, after: int, seconds: float = 30) -> None:
        """Wait until another process took the place of the one with the id `after`."""
        until(lambda: self.pid(name) not in {None, after}, seconds=seconds, what=f"{name} is back\n{self.tail()}")

    @contextlib.contextmanager
    def beside(self, name: str, *, port: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Run another process just like the one with this name, as on a second machine; a web server on `port`."""
        like = until(lambda: self.pid(name), seconds=10, what=f"{name} runs")
        command = _zero_ended(Path(f"/proc/{like}/cmdline"))
        env = dict(line.split("=", 1) for line in _zero_ended(Path(f"/proc/{like}/environ")))
        command = [str(port) if port and part == str(self.port) else part for part in command]
        command = [part.replace("@%h", "-beside@%h") for part in command]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    # -- its endpoints ------------------------------------------------------------------------------------------------
    def call(self, method: str, path: str, body: Any = None, *, key: str = KEY) -> tuple[int, Any]:
        """Call over HTTP and return status and parsed answer."""
        request = urllib.request.Request(
            path if path.startswith("http") else self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                text = answer.read().decode()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            return error.code, json.loads(text) if text.startswith("{") else text

    def get(self, path: str) -> tuple[int, Any]:
        return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """POST and return the answer, which must be a success."""
        status, answer = self.call("POST", path, {} if body is None else body)
        assert status < 300, (status, answer)
        return answer

    def ping(self, api_url: str) -> int:
        """Ping as a job does and return the status, or 0 when the connection failed."""
        try:
            return self.call("POST", api_url, {})[0]
        except OSError:
            return 0

    def alerts(self, integration_id: int) -> list[dict[str, Any]]:
        """Return the alerts about an integration; a 503 just after the database came back is asked again."""

        def ask() -> Any:
            status, answer = self.get(f"/api/v1/alerts/?integration={integration_id}")
            assert status in {200, 503}, (status, answer)
            return (answer["results"],) if status == 200 else None

        return until(ask, seconds=20, what="alerts are listed")[0]

    @property
    def database_url(self) -> str:
        return self.env.get("DATABASE_URL") or postgres.locate(open_data_folder(self.folder)).url

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(_psycopg_url(self.database_url)) as connection:
            return connection.execute(query).fetchall()

    def broker(self) -> redis.Redis:
        url = valkey.locate(open_data_folder(self.folder)).url
        return redis.Redis.from_url(url.replace("redis+socket://", "unix://"))

    # -- what tests need first ------------------------------------------------------------------------------------
    def person(self, name: str) -> int:
        answer = self.post("/api/v1/users/", {"name": name.title(), "email": f"{name}@example.com"})
        return answer["id"]

    def heartbeat(
        self, name: str, *, recipients: Sequence[int] = (), interval_minutes: float = 0.1, **more: Any
    ) -> dict[str, Any]:
        """Create a heartbeat that notifies these users, over REST."""
        if "escalation_policy" not in more:
            more["escalation_policy"] = self.get("/api/v1/escalation-policies/")[1]["results"][-1]["id"]
        return self.post(
            "/api/v1/integrations/",
            {"name": name, "interval_minutes": interval_minutes, "recipient_users": list(recipients), **more},
        )

    def api(self, name: str, *, recipients: Sequence[int] = ()) -> dict[str, Any]:
        """Create an API integration that notifies these users, over REST."""
        policy = self.get("/api/v1/escalation-policies/")[1]["results"][-1]["id"]
        body = {"type": "api", "name": name, "recipient_users": list(recipients), "escalation_policy": policy}
        return self.post("/api/v1/integrations/", body)


def _zero_ended(path: Path) -> list[str]:
    return path.read_text().removesuffix("\0").split("\0")


def _psycopg_url(url: str) -> str:
    return url.replace("postgres://", "postgresql://", 1)


@contextlib.contextmanager
def running_stack(*, open_files: int | None = None, **env: str) -> Iterator[Stack]:
    """Run all processes in a temporary folder that a service account can reach, and stop them at the end."""
    place = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    place.chmod(0o755)
    stack = Stack(folder=place / "data", env=env, open_files=open_files)
    try:
        stack.start()
        yield stack
    finally:
        if stack.process is not None and stack.process.poll() is None:
            stack.stop()
        shutil.rmtree(place, ignore_errors=True)
