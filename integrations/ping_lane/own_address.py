"""The address at which a web process listens, read from its own sockets: its environment may name another's port."""

import os
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Final

from heartbeat_project.kernel.connections import max_connections

Address = tuple[str, int]
# The open files of this process, on Linux and macOS.
_DESCRIPTORS: Final = Path("/dev/fd")
# How long an answer may wait for a client that does not read it; then the connection ends.
UNREAD_SECONDS: Final = 60
# Two numbers in the kernel's struct tcp_info of a listening socket: connections that wait to be accepted, and the most
# that may wait.
_QUEUE: Final = struct.Struct("=24xII")
WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - names what others chose


class OwnAddress:
    """The address at which this process is reached from this machine.

    It is the address on which the process listens, preferably at the port of `configured`. While it listens on no TCP
    socket of its own, it is `configured`, which may be None.
    """

    def __init__(self, configured: Address | None) -> None:
        self.configured = configured
        self._listening_address: Address | None = None

    def __call__(self) -> Address | None:
        """Return host and port, or None if they are not known."""
        if self._listening_address is None:
            port = self.configured[1] if self.configured else 0
            candidates = sorted(_listening(), key=lambda candidate: (candidate[1] != port, candidate))
            self._listening_address = next(iter(candidates), None)
        address = self._listening_address or self.configured
        return None if address is None else (WILDCARDS.get(address[0], address[0]), address[1])


class ListeningSockets:
    """The sockets on which this process accepts connections; a server may begin to listen after its first pulse."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    def turn_away(self) -> bool:
        """Return whether the queue of a socket is full, so that the kernel drops further connections.

        What was sent meanwhile may come seconds later, in another order, or never. Known on Linux only.
        """
        if sys.platform != "linux":
            return False
        # A descriptor may belong to another file by now.
        if not self._numbers or not all(_accepts_at(number) for number in self._numbers):
            self._numbers = [number for number in _descriptors() if _accepts_at(number) is not None]
            self._end_what_is_not_read()
        for number in self._numbers:
            with socket.socket(fileno=os.dup(number)) as copy:
                waiting, limit = _QUEUE.unpack_from(copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))
                if waiting > limit:
                    return True
        return False

    def _end_what_is_not_read(self) -> None:
        """Let connections end whose client reads nothing of its answer; they inherit the option from these sockets."""
        for number in self._numbers:
            with socket.socket(fileno=os.dup(number)) as copy:
                copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)


def all_connections_are_taken() -> bool:
    """Return whether this process has as many connections as it takes at once; lists all of its open files."""
    return len(_descriptors()) >= max_connections()


def _listening() -> list[Address]:
    """Return the TCP addresses that sockets of this process accept connections on."""
    return [address for number in _descriptors() if (address := _accepts_at(number)) is not None]


def _descriptors() -> list[int]:
    try:
        return [int(path.name) for path in _DESCRIPTORS.iterdir()]
    except OSError:
        return []


def _accepts_at(descriptor: int) -> Address | None:
    """Return the address if the descriptor is a TCP socket that accepts connections, else None."""
    try:
        # Asked first: for another file socket() raises, and nobody would close the copy.
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            tcp = copy.family in {socket.AF_INET, socket.AF_INET6} and copy.type == socket.SOCK_STREAM
            if not tcp or not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return None
            host, port = copy.getsockname()[:2]
            return str(host), int(port)
    except OSError:
        return None
