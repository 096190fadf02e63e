"""Starts one of the embedded servers, and either returns it ready or explains why it is not."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from embedded.process import EmbeddedError, Program, spawn, stop, wait_until

START_SECONDS = 60.0  # crash recovery may have to replay a gigabyte of write-ahead log


class Server(Protocol):
    """The common interface of PostgreSQL and Valkey."""

    @property
    def url(self) -> str:
        """Return the URL for clients."""

    @property
    def program(self) -> Program:
        """Return how to run the server."""

    def prepare(self) -> None:
        """Create its files and clean up after an earlier run."""

    def is_ready(self, pid: int) -> bool:
        """Return whether the server of process `pid` accepts clients."""


def launch(
    server: Server, *, output: int, log_tail: Callable[[], str], wait: Callable[..., bool] = wait_until
) -> subprocess.Popen[bytes]:
    """Start `server` and return its process when it is ready; `wait` may raise to give up.

    Raises EmbeddedError with the last lines of the server's log (`log_tail`) if it fails.
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
        failure = f"is not ready after {START_SECONDS:.0f} s"
        if child.poll() is not None:
            failure = f"ended with {child.returncode}"
    except BaseException:
        stop(child, program)
        raise
    stop(child, program)
    raise EmbeddedError(f"The {program.name} {failure}:\n{log_tail().strip()}")


def log_tail(path: Path, *, lines: int = 20) -> str:
    """Return the last lines of a log file."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
