"""A separate database, broker and web processes that can be killed, frozen and restarted one by one."""

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
from embedded import postgres, valkey
from embedded.folders import open_data_folder
from embedded.process import stop, wait_until
from embedded.servers import Server, launch, log_tail

START_SECONDS = 60.0


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@dataclass
class Kept:
    """One embedded server that can be restarted; start it from the main thread, because it dies with its thread."""

    server: Server
    log: Path
    child: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start the server and return when it accepts clients."""
        with self.log.open("ab") as output:
            self.child = launch(self.server, output=output.fileno(), log_tail=lambda: log_tail(self.log))

    def end(self) -> None:
        """Stop the server as an operator would."""
        stop(self.child, self.server.program)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server and its sessions within the block: connections stay open, but nothing answers."""
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
    files: int | None = None  # limit of open files; None: the limit of this process
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start the server and return when every worker has started."""
        limit = [] if self.files is None else ["prlimit", f"--nofile={self.files}"]
        options = [*self.options, "--port", str(self.port), "--workers", str(self.workers), "--respawn-failed-workers"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*limit, sys.executable, "-m", "heartbeat_project.serve", *options],
                cwd=ROOT,
                env={**self.env, "HEARTBEAT_HOST": "127.0.0.1", "HEARTBEAT_PORT": str(self.port)},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if not wait_until(lambda: self.started() == self.workers, seconds=START_SECONDS, pause=0.1):
            raise RuntimeError(f"the web server did not start:\n{log_tail(self.log)}")

    def started(self) -> int:
        """Return how many workers have started so far; a worker ignores a signal to stop before that."""
        return self.log.read_text(errors="replace").count("Started worker-")

    def pids(self) -> list[int]:
        """Return the ids of the present worker processes."""
        return children(self.process.pid)

    def end(self, *, seconds: float = 30) -> int:
        """Stop the server and return its exit code; kill it if it has not stopped within `seconds`."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait()


@dataclass
class Ground:
    """Database and broker in a separate folder, filled with heartbeats that expect a ping every hour."""

    folder: Path
    heartbeats: int

    def __post_init__(self) -> None:
        data = open_data_folder(self.folder / "data")
        self.database = Kept(postgres.locate(data), self.folder / "database.log")
        self.broker = Kept(valkey.locate(data), self.folder / "broker.log")

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of Heartbeat's processes."""
        return {
            **os.environ,
            "DATABASE_URL": self.database.server.url,
            "REDIS_URL": self.broker.server.url,
            "SECRET_KEY": "benchmark",
            "DJANGO_SETTINGS_MODULE": "heartbeat_project.settings",
            "HEARTBEAT_LOG_LEVEL": "WARNING",
        }

    def fill(self) -> None:
        """Create the tables and the heartbeats `bench-1` to `bench-N`."""
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
    def web(
        self, *, workers: int = 1, files: int | None = None, options: tuple[str, ...] = (), **env: str
    ) -> Iterator[Web]:
        """Run the web server within the block; it logs to a file `web-*.log` in the folder."""
        log = self.folder / f"web-{time.monotonic_ns()}.log"
        server = Web(env={**self.env, **env}, log=log, workers=workers, files=files, options=options)
        server.start()
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.end()


@contextlib.contextmanager
def ground(*, heartbeats: int) -> Iterator[Ground]:
    """Run database and broker with `heartbeats` heartbeats in a temporary folder within the block."""
    # A short path, because sockets lie in it; the service account must be able to enter it.
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        servers = Ground(folder=folder, heartbeats=heartbeats)
        with contextlib.ExitStack() as stack:
            for server in (servers.database, servers.broker):
                server.start()
                stack.callback(server.end)
            servers.fill()
            yield servers
    finally:
        rmtree(folder, ignore_errors=True)
