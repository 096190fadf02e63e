"""A database, a broker and web processes of their own that can be killed, frozen and restarted one by one."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import psycopg

from benchmarks.fill import fill_with
from benchmarks.harness import ROOT
from heartbeat_project.embedded import postgres, valkey
from heartbeat_project.embedded.folders import open_data_folder
from heartbeat_project.embedded.process import stop, wait_until
from heartbeat_project.embedded.servers import Server, launch, log_tail
from heartbeat_project.embedded.stack import WEB

START_SECONDS = 60.0


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@dataclass
class Kept:
    """One embedded server in its place; start and end it from the main thread, whose end it would not outlive."""

    server: Server
    log: Path
    child: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it and return when it takes clients."""
        with self.log.open("ab") as output:
            self.child = launch(self.server, output=output.fileno(), said=lambda: log_tail(self.log))

    def end(self) -> None:
        """End it as its operator would."""
        stop(self.child, self.server.program)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it in its tracks, sessions too, for as long as the block lasts: it is there, and says nothing."""
        pids = [self.child.pid, *children(self.child.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


@dataclass
class Web:
    """The production web server with worker processes; a worker that dies is replaced."""

    env: dict[str, str]
    log: Path
    workers: int = 1
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it and return when every worker is there and one answers."""
        options = ["--port", str(self.port), "--workers", str(self.workers), "--respawn-failed-workers", *WEB]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "granian", *options, "heartbeat_project.asgi:application"],
                cwd=ROOT,
                env=self.env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if not wait_until(lambda: self.started() == self.workers, seconds=START_SECONDS, pause=0.1):
            raise RuntimeError(f"the web server did not start:\n{log_tail(self.log)}")

    def started(self) -> int:
        """Return how many workers have started so far; one that is asked to end before that does not hear it."""
        return self.log.read_text(errors="replace").count("Started worker-")

    def pids(self) -> list[int]:
        """Return the worker processes that are there now."""
        return children(self.process.pid)

    def end(self, *, seconds: float = 30) -> int:
        """Ask it to end and return its exit code; kill what has not ended by then."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait()


@dataclass
class Ground:
    """Database and broker in a folder of their own, filled with heartbeats of an hour."""

    folder: Path
    heartbeats: int

    def __post_init__(self) -> None:
        data = open_data_folder(self.folder / "data")
        self.database = Kept(postgres.locate(data), self.folder / "database.log")
        self.broker = Kept(valkey.locate(data), self.folder / "broker.log")

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of the product's processes."""
        return {
            **os.environ,
            "DATABASE_URL": self.database.server.url,
            "REDIS_URL": self.broker.server.url,
            "SECRET_KEY": "benchmark",
            "DJANGO_SETTINGS_MODULE": "heartbeat_project.settings",
            "HEARTBEAT_LOG_LEVEL": "WARNING",
        }

    def fill(self) -> None:
        """Make the tables and the heartbeats `bench-1` to `bench-N`."""
        migrate = [sys.executable, "manage.py", "migrate", "--noinput", "--skip-checks", "-v0"]
        subprocess.run(migrate, cwd=ROOT, env=self.env, check=True)
        with self.connected() as connection:
            fill_with(connection.execute, self.heartbeats)
        with self.connected(autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def connected(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a new connection to the database."""
        return psycopg.connect(self.database.server.url.replace("postgres://", "postgresql://", 1), **options)

    def sql(self, query: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows, if it has any."""
        with self.connected() as connection:
            cursor = connection.execute(query, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def web(self, *, workers: int = 1, **env: str) -> Iterator[Web]:
        """Run the web server; what its workers say goes to `web.log` in the folder."""
        server = Web(env={**self.env, **env}, log=self.folder / f"web-{time.monotonic_ns()}.log", workers=workers)
        server.start()
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.end()


@contextlib.contextmanager
def ground(*, heartbeats: int) -> Iterator[Ground]:
    """Run database and broker in a temporary folder, with so many heartbeats, and remove it at the end."""
    # Short and open to a service account, because sockets lie in it.
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        made = Ground(folder=folder, heartbeats=heartbeats)
        with contextlib.ExitStack() as stack:
            for kept in (made.database, made.broker):
                kept.start()
                stack.callback(kept.end)
            made.fill()
            yield made
    finally:
        rmtree(folder, ignore_errors=True)
