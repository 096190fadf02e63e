"""A PostgreSQL and a broker for tests: the production servers in a folder of their own.

    python -m heartbeat_project.embedded.testing [--dir DIR] -- command...

runs the command with DATABASE_URL and REDIS_URL set, and stops both servers at its end, however that comes.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from heartbeat_project.embedded import postgres, valkey
from heartbeat_project.embedded.folders import DataFolder, locked, open_data_folder
from heartbeat_project.embedded.process import EmbeddedError, current_account, service_account, stop, succeeds_as, tied
from heartbeat_project.embedded.servers import Server, launch, log_tail


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """Where the two servers listen."""

    database_url: str
    redis_url: str


@contextlib.contextmanager
def running(server: Server, data: DataFolder) -> Iterator[subprocess.Popen[bytes]]:
    """Run one server, logging to a file in the data folder, and stop it at the end."""
    log = data.path / f"{server.program.name}.log"
    with log.open("ab") as output:
        child = launch(server, output=output.fileno(), said=lambda: log_tail(log))
        try:
            yield child
        finally:
            stop(child, server.program)


@contextlib.contextmanager
def embedded_servers(folder: Path | None = None) -> Iterator[Addresses]:
    """Run both servers in `folder`, which is kept for the next time, or in a temporary one that is removed."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            # Short, because sockets lie in it.
            folder = Path(tempfile.mkdtemp(prefix="heartbeat-", dir=_temporary_place()))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        data = open_data_folder(folder)
        stack.enter_context(locked(data))
        database, broker = postgres.locate(data), valkey.locate(data)
        stack.enter_context(running(database, data))
        stack.enter_context(running(broker, data))
        yield Addresses(database_url=database.url, redis_url=broker.url)


def main(arguments: list[str] | None = None) -> int:
    """Run a command beside the two servers and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m heartbeat_project.embedded.testing",
        description="Run a command beside an embedded PostgreSQL and Valkey.",
    )
    parser.add_argument("--dir", type=Path, help="keep the servers' data here (default: a temporary folder)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, after --")
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command given")
    leave_on_signals()
    try:
        with embedded_servers(options.dir) as addresses:
            return run_beside(
                command, os.environ | {"DATABASE_URL": addresses.database_url, "REDIS_URL": addresses.redis_url}
            )
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run_beside(command: list[str], env: dict[str, str]) -> int:
    """Run `command` on our terminal; Ctrl-C and SIGTERM end it before they end us."""
    with subprocess.Popen(command, env=env, preexec_fn=tied(signal.SIGTERM)) as child:  # noqa: PLW1509
        try:
            return child.wait()
        except BaseException:
            # A terminal's Ctrl-C reached it too; a SIGTERM or a second interrupt did not.
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(20)
            child.kill()
            raise


def _temporary_place() -> str:
    place = tempfile.gettempdir()
    if current_account().uid != 0 or succeeds_as(service_account(), ["test", "-x", place], folder=Path("/")):
        return place
    return "/tmp"  # noqa: S108  mkdtemp makes a folder of its own; root's private TMPDIR would keep the servers out


def leave_on_signals() -> None:
    """Leave in order on SIGTERM and a closed terminal, so that the servers are stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup's wish
            signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
