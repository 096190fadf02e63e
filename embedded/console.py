"""Writes the supervisor's own lines and those of its children to the terminal, without ever waiting for its reader.

The lines of children, including the database's errors, quote requests. All control characters are escaped, so that a
request cannot control the terminal.
"""

import os
import select
from collections import deque
from collections.abc import Callable

from heartbeat_project.masking import escaped

LONGEST_WRITE = 4096  # bytes, PIPE_BUF: a pipe that is writable takes this much without blocking
MAX_WAITING = 2000  # lines


class Console:
    """Writes lines to a file descriptor; while its reader does not read, it keeps the newest and drops the others.

    If it blocked instead, the children's pipes would fill up, and a paused terminal would stop Heartbeat.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._unwritten = b""

    def say(self, text: str, *, source: str = "heartbeat") -> None:
        """Print each line of `text` with the name of its `source`."""
        for line in text.removesuffix("\n").split("\n"):
            self._waiting.append(f"{source:>9} | {escaped(line)}\n".encode(errors="replace"))
        self.flush()

    def flush(self) -> None:
        """Write as much as possible without waiting."""
        try:
            while (self._unwritten or self._waiting) and select.select([], [self._descriptor], [], 0)[1]:
                self._unwritten = self._unwritten or self._waiting.popleft()
                self._unwritten = self._unwritten[os.write(self._descriptor, self._unwritten[:LONGEST_WRITE]) :]
        except OSError:  # the terminal is gone, but Heartbeat goes on
            self._unwritten = b""
            self._waiting.clear()


class Follower:
    """Reads the output of a child line by line without waiting for it, and keeps the last lines."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._show = show
        self._part = b""
        self._last: deque[str] = deque(maxlen=25)

    def fileno(self) -> int:
        """Return the descriptor that is readable when output has arrived, for `select`."""
        return self._reader

    def pump(self) -> None:
        """Pass on all complete lines that have arrived."""
        for _ in range(64):  # a child that writes without end must not delay the others
            try:
                received = os.read(self._reader, 65536)
            except OSError:
                return
            *lines, self._part = (self._part + received).split(b"\n")
            if len(self._part) > 65536:
                lines, self._part = [*lines, self._part], b""
            for line in lines:
                self._line(line)

    def tail(self) -> str:
        """Return the last lines."""
        self.pump()
        return "\n".join([*self._last, self._part.decode(errors="replace")]).strip()

    @property
    def last_line(self) -> str:
        """The last line that was passed on."""
        return self._last[-1] if self._last else ""

    def close(self) -> None:
        """Pass on the remaining output and close the pipe."""
        self.pump()
        if self._part:
            self._line(self._part)
        os.close(self._reader)
        os.close(self.writer)

    def _line(self, line: bytes) -> None:
        text = escaped(line.decode(errors="replace").rstrip())
        self._last.append(text)
        self._show(text)
