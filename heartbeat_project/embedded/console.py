"""What the supervisor shows: its own words and each child's lines, never held up by whoever reads them."""

import os
import select
from collections import deque
from collections.abc import Callable

LONGEST_WRITE = 4096  # PIPE_BUF: a pipe that is writable takes this much without blocking
MOST_WAITING = 2000


class Console:
    """Writes lines to a file descriptor; while its reader does not read, it keeps the newest and drops the others.

    Blocking instead would fill the children's pipes next, and then stop the product because of a paused terminal.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._rest = b""

    def say(self, text: str, *, source: str = "heartbeat") -> None:
        """Show each line of `text` as said by `source`."""
        for line in text.splitlines() or [""]:
            self._waiting.append(f"{source:>9} | {line}\n".encode(errors="replace"))
        self.flush()

    def flush(self) -> None:
        """Write what can be written without waiting."""
        try:
            while (self._rest or self._waiting) and select.select([], [self._descriptor], [], 0)[1]:
                self._rest = self._rest or self._waiting.popleft()
                self._rest = self._rest[os.write(self._descriptor, self._rest[:LONGEST_WRITE]) :]
        except OSError:  # the terminal is gone; the product is not
            self._rest = b""
            self._waiting.clear()


class Follower:
    """Reads what a child writes, line by line, without waiting for it; remembers the last lines."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._show = show
        self._part = b""
        self._last: deque[str] = deque(maxlen=25)

    def pump(self) -> None:
        """Show all complete lines that are there."""
        for _ in range(64):  # one talkative child must not hold the others up
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

    def close(self) -> None:
        """Show the rest and let go of the pipe."""
        self.pump()
        if self._part:
            self._line(self._part)
        os.close(self._reader)
        os.close(self.writer)

    def _line(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self._last.append(text)
        self._show(text)
