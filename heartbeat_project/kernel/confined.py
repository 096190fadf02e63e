"""Run a parser of outside input in its own child process, with limits of time, memory and output.

The child is `python -I` with an empty environment: it has the parser and its library, but no settings and no secrets.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

_CHILD: Final = Path(__file__).with_name("confined_child.py")
# Two children at once for each parser and process: slow input of one parser must not delay the input of another.
_AT_ONCE: Final[defaultdict[Path, threading.BoundedSemaphore]] = defaultdict(lambda: threading.BoundedSemaphore(2))
# A relocated Python finds its shared library by LD_LIBRARY_PATH.
_ENVIRONMENT: Final = {"LANG": "C.UTF-8"} | {
    name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ
}


class Overrun(Exception):
    """The child was stopped or failed. The message gives the reason to people; `answer` is the output until then."""

    def __init__(self, why: str, *, answer: bytes = b"") -> None:
        super().__init__(why)
        self.answer = answer


@dataclass(frozen=True)
class Limits:
    """The resources that one child may use."""

    cpu_seconds: int = 5
    memory_mib: int = 256  # address space, including Python itself
    seconds: float = 10.0  # elapsed time, without the wait for a free child
    answer_bytes: int = 4 * 1024 * 1024


def run_confined(parser: Path, data: bytes, *, limits: Limits | None = None) -> bytes:
    """Run the script `parser` with `data` as its standard input; return its standard output.

    The script may import the standard library and installed packages, but no module of the project. At most two
    children of one script run at once and others wait, so do not call this in a thread that must not wait. Raises
    `Overrun`, and OSError if no child can be started or if it ended before it read anything: then the input is not at
    fault.
    """
    limits = limits or Limits()
    numbers = [str(limits.cpu_seconds), str(limits.memory_mib), str(limits.answer_bytes)]
    # -B: an installation may be read-only. Files instead of pipes: RLIMIT_FSIZE limits only files.
    command = [sys.executable, "-I", "-B", str(_CHILD), *numbers, str(parser)]
    with _AT_ONCE[parser], _file() as question, _file() as answer:
        question.write(data)
        question.seek(0)
        try:
            completed = subprocess.run(  # noqa: S603 - our own script
                command,
                stdin=question,
                stdout=answer,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                timeout=limits.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            why = f"it took more than {limits.seconds:g} seconds to read"
        else:
            why = _why(completed.returncode, limits) if completed.returncode else ""
        # Both processes share the file offset: if it is still 0, the child read nothing, and the input is not at fault.
        if why and data and not os.lseek(question.fileno(), 0, os.SEEK_CUR):
            raise OSError(f"the parser did not begin to read: {why}")
        answer.seek(0)
        output = answer.read(limits.answer_bytes + 1)
        if why:
            raise Overrun(why, answer=output)
        return output


def _file() -> IO[bytes]:
    """Return a file without a name, in memory if the system supports it, so that a full disk does not matter."""
    if hasattr(os, "memfd_create"):
        with suppress(OSError):
            return os.fdopen(os.memfd_create("confined"), "w+b")
    return tempfile.TemporaryFile()


def _why(status: int, limits: Limits) -> str:
    match status:
        case -24 | -9:  # SIGXCPU; SIGKILL if the parser ignores it
            return f"it took more than {limits.cpu_seconds} seconds of processor time to read"
        case 71:
            return f"it took more than {limits.memory_mib} MiB of memory to read"
        case -25 | 72:  # SIGXFSZ, or the error that it becomes
            return f"its content came to more than {limits.answer_bytes // 1024} KiB"
        case _:
            return "the parser failed"
