"""Starting the embedded servers: one at a time, ready or explained."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from heartbeat_project.embedded.process import EmbeddedError, Program, spawn, stop, wait_until

START_SECONDS = 60.0  # crash recovery may have a gigabyte of log to replay


class Server(Protocol):
    """What PostgreSQL and Valkey have in common."""

    @property
    def url(self) -> str:
        """Return the address for clients."""

    @property
    def program(self) -> Program:
        """Return how to run it."""

    def prepare(self) -> None:
        """Make its files and clear away what an earlier run left."""

    def is_ready(self, pid: int) -> bool:
        """Answer whether the server of process `pid` takes clients."""


def launch(
    server: Server, *, output: int, said: Callable[[], str], wait: Callable[..., bool] = wait_until
) -> subprocess.Popen[bytes]:
    """Start `server` and return it ready; `wait` may raise to give up.

    Raises EmbeddedError with what the server `said` if it fails.
    """
    server.prepare()
    program = server.program
    child = spawn(program, output=output)
    try:
        if (
            wait(lambda: child.poll() is not None or server.is_ready(child.pid), seconds=START_SECONDS)
            and child.poll() is None
        ):
            return child
        why = (
            f"ended with {child.returncode}"
            if child.poll() is not None
            else f"is not ready after {START_SECONDS:.0f} s"
        )
    except BaseException:
        stop(child, program)
        raise
    stop(child, program)
    raise EmbeddedError(f"The {program.name} {why}:\n{said().strip()}")


def log_tail(path: Path, *, lines: int = 20) -> str:
    """Return the last lines of a log file."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
