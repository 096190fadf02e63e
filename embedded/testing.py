"""Runs the embedded PostgreSQL and broker in a separate folder, for tests.

    python -m embedded.testing [--dir DIR] -- command...

runs the command with DATABASE_URL and REDIS_URL set, and stops both servers when it ends in any way.
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

from embedded import postgres, valkey
from embedded.disk_errors import explain
from embedded.folders import DataFolder, locked, open_data_folder
from embedded.process import EmbeddedError, current_account, service_account, stop, succeeds_as, tied
from embedded.servers import Server, launch, log_tail


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """The URLs of the two servers."""

    database_url: str
    redis_url: str


@contextlib.contextmanager
def running(server: Server, data: DataFolder) -> Iterator[subprocess.Popen[bytes]]:
    """Run one server within the block, with its log in a file in the data folder."""
    log = data.path / f"{server.program.name}.log"
    with log.open("ab") as output:
        child = launch(server, output=output.fileno(), log_tail=lambda: log_tail(log))
        try:
            yield child
        finally:
            stop(child, server.program)


@contextlib.contextmanager
def embedded_servers(folder: Path | None = None) -> Iterator[Addresses]:
    """Run both servers within the block in `folder`, which is kept, or in a temporary folder, which is removed."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            # A short path, because sockets lie in it.
            folder = Path(tempfile.mkdtemp(prefix="heartbeat-", dir=_temporary_folder()))
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
        prog="python -m embedded.testing",
        description="Run a command beside an embedded PostgreSQL and Valkey.",
    )
    parser.add_argument("--dir", type=Path, help="keep the servers' data in this folder (default: a temporary one)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command to run, after --")
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
    except OSError as error:
        print(f"The command could not be run. {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run_beside(command: list[str], env: dict[str, str]) -> int:
    """Run `command` on our terminal and return its exit code; Ctrl-C and SIGTERM end it before us."""
    with subprocess.Popen(command, env=env, preexec_fn=tied(signal.SIGTERM)) as child:  # noqa: PLW1509
        try:
            return child.wait()
        except BaseException:
            # Ctrl-C in a terminal reaches the child as well, but SIGTERM reaches only us.
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(20)
            child.kill()
            raise


def _temporary_folder() -> str:
    folder = tempfile.gettempdir()
    if current_account().uid != 0 or succeeds_as(service_account(), ["test", "-x", folder], folder=Path("/")):
        return folder
    return "/tmp"  # noqa: S108  mkdtemp creates a private folder there; the servers cannot enter root's private TMPDIR


def leave_on_signals() -> None:
    """Raise SystemExit on SIGTERM and SIGHUP (a closed terminal), so that the servers are stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
