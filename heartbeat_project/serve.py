"""Starts the web server (granian) with a limit of connections that fits its limit of open files.

    python -m heartbeat_project.serve --host HOST --port PORT [further options of granian]

This process is replaced by granian, which has a process of its own for the application.
"""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from heartbeat_project.kernel.connections import max_connections, raise_file_limit

# Seconds in which a connection must send the head of a request, at first and after each response; then it is closed.
# Otherwise silent connections would stay forever and shut out all later ones. Not 30: a job that pings every 30 s over
# one connection would send just when it is closed, and its ping would be lost.
HEAD_SECONDS: Final = 35

OPTIONS: Final = (
    *("--workers", "1", "--interface", "asgi", "--no-ws"),
    # The timeout has no effect with `--http auto`.
    *("--http", "1", "--http1-header-read-timeout", str(HEAD_SECONDS * 1000)),
    # Bytes that each connection may hold in memory until its head is complete.
    *("--http1-buffer-size", "65536"),
)


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of the web server; `arguments` override the default options."""
    # Platforms that have no wheel of uvloop do without.
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    options = (*OPTIONS, "--loop", loop, "--backpressure", str(max_connections()), *arguments)
    return [sys.executable, "-m", "granian", *options, "heartbeat_project.asgi:application"]


def check_settings() -> None:
    """Exit with status 1 and one sentence if a setting is wrong.

    The application does that, too, but in granian's child, and between granian's own lines. Under `script/server` the
    settings are checked already, and this process need not load them.
    """
    if os.environ.get("HEARTBEAT_SUPERVISED") != "true":
        from heartbeat_project.configuration import load_settings  # noqa: PLC0415 - it imports Django

        load_settings()


if __name__ == "__main__":
    raise_file_limit()
    check_settings()
    # glibc keeps a heap for each of many threads, and gives little of them back: with two heaps, a process that was
    # busy stays a third smaller. The setting is read when a process starts.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    command_line = command(sys.argv[1:])
    # Replacing this process, so that signals reach the server itself.
    os.execv(command_line[0], command_line)  # noqa: S606
