"""Keeps children running: shows their logs, restarts crashed ones after growing pauses, and stops them in order."""

import select
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from embedded.console import Console, Follower
from embedded.disk_errors import explain
from embedded.process import EmbeddedError, Program, end_group, spawn, stop, wait_until
from embedded.servers import Server, launch

FIRST_PAUSE = 0.5  # seconds before the first restart; doubles with each crash
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 30.0  # a child that ran for this long is restarted after the first pause again
TICK = 0.05  # seconds between two looks at the children, at least
QUIET_TICK = 0.5  # seconds between two looks while they write nothing, once all of them run


class Stopped(Exception):
    """We were asked to stop by the signal `number` (SIGTERM, SIGINT, SIGHUP)."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(kw_only=True, slots=True)
class Child:
    """A program that must run all the time, and its state; `server` is set for database and broker."""

    program: Program
    follower: Follower
    process: subprocess.Popen[bytes]
    server: Server | None = None
    started: float = field(default_factory=time.monotonic)
    pause: float = FIRST_PAUSE
    restart_at: float | None = None
    crashes: int = 0  # in a row, without STEADY_SECONDS between them


class Supervisor:
    """Runs servers and programs until it is asked to stop. Programs stop together; then servers, in reverse order."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._children: list[Child] = []
        self._requests = 0
        self._requested_by = 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                signal.signal(number, self._note_request)

    def serve(self, server: Server) -> None:
        """Start a server and return when it is ready. Raises EmbeddedError if it fails."""
        program = server.program
        follower = self._follow(program)
        try:
            process = launch(server, output=follower.writer, log_tail=follower.tail, wait=self.wait)
        except BaseException:
            follower.close()
            raise
        self._children.append(Child(program=program, follower=follower, process=process, server=server))

    def keep(self, program: Program) -> None:
        """Start a program that must run all the time."""
        follower = self._follow(program)
        self._children.append(Child(program=program, follower=follower, process=spawn(program, output=follower.writer)))

    def run(self, program: Program, *, show: Callable[[str], None], seconds: float) -> None:
        """Run a program to its end and pass each line of its output to `show`. Raises EmbeddedError if it fails."""
        follower = Follower(show)
        process = spawn(program, output=follower.writer)

        def ended() -> bool:
            follower.pump()
            return process.poll() is not None

        try:
            if not self.wait(ended, seconds=seconds):
                raise EmbeddedError(f"{program.name} did not end within {seconds:.0f} s:\n{follower.tail()}")
            if process.returncode != 0:
                log_tail = follower.tail()
                # Exit code 1 without a traceback: the program has explained the error itself.
                if process.returncode == 1 and log_tail and "Traceback" not in log_tail:
                    raise EmbeddedError(log_tail)
                raise EmbeddedError(f"{program.name} failed (exit code {process.returncode}):\n{log_tail}")
        finally:
            stop(process, program)
            follower.close()

    def wait(self, condition: Callable[[], bool], *, seconds: float, pause: float = TICK) -> bool:
        """Watch the children until `condition` is true, for at most `seconds`. Raises Stopped when asked to stop.

        Looks again after `pause` seconds, or after TICK if a child writes something.
        """

        def watched() -> bool:
            if self._requests:
                raise Stopped(self._requested_by)
            self._watch()
            return condition()

        return wait_until(watched, seconds=seconds, pause=TICK, then=lambda: self._wait_for_output(pause - TICK))

    def crashes(self) -> str:
        """Return a sentence for each child that keeps crashing, with its last line; safe in any thread."""
        return " ".join(
            f"{child.program.name} has ended {child.crashes} times in a row; its last line: {child.follower.last_line}"
            for child in list(self._children)
            if child.crashes > 1 and (child.restart_at or time.monotonic() - child.started <= STEADY_SECONDS)
        )

    def shut_down(self) -> None:
        """Stop everything. A further request meanwhile kills the programs at once, but never the servers."""
        requests = self._requests
        programs = [child for child in self._children if child.server is None]
        for child in programs:
            number, _ = child.program.stop_signals[0]
            if child.process.poll() is None:
                child.process.send_signal(number)

        def ended() -> bool:
            self._pump()
            return self._requests > requests or all(child.process.poll() is not None for child in programs)

        wait_until(
            ended, seconds=max((child.program.stop_signals[0][1] for child in programs), default=0.0), pause=TICK
        )
        for child in programs:
            if child.process.poll() is None:
                self.console.say(f"{child.program.name} did not stop in time and is killed.")
            end_group(child.process)
        for child in reversed(self._children):
            if child.server is not None:
                stop(child.process, child.program)
            child.follower.close()
        self._children.clear()

    def _watch(self) -> None:
        self._pump()
        for child in self._children:
            if child.restart_at is None and child.process.poll() is not None:
                self._note_crash(child)
            elif child.restart_at is not None and time.monotonic() >= child.restart_at:
                self._restart(child)

    def _note_crash(self, child: Child) -> None:
        end_group(child.process)
        is_steady = time.monotonic() - child.started > STEADY_SECONDS
        child.pause = FIRST_PAUSE if is_steady else child.pause
        child.crashes = 1 if is_steady else child.crashes + 1
        child.restart_at = time.monotonic() + child.pause
        self.console.say(
            f"{child.program.name} {_end_in_words(child.process.returncode)}; it starts again in {child.pause:g} s."
        )
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _restart(self, child: Child) -> None:
        try:
            if child.server is not None:
                child.server.prepare()
            child.process = spawn(child.program, output=child.follower.writer)
        except (EmbeddedError, OSError) as error:
            child.restart_at = time.monotonic() + child.pause
            reason = explain(error) if isinstance(error, OSError) else error
            self.console.say(f"{child.program.name} could not be started: {reason} Next try in {child.pause:g} s.")
            child.pause = min(child.pause * 2, LONGEST_PAUSE)
            return
        child.started, child.restart_at = time.monotonic(), None
        self.console.say(f"{child.program.name} was started again.")

    def _wait_for_output(self, seconds: float) -> None:
        if seconds > 0:
            select.select([child.follower for child in self._children], [], [], seconds)

    def _pump(self) -> None:
        for child in self._children:
            child.follower.pump()
        self.console.flush()

    def _follow(self, program: Program) -> Follower:
        return Follower(lambda line: self.console.say(line, source=program.name))

    def _note_request(self, number: int, _frame: FrameType | None) -> None:
        self._requests += 1
        self._requested_by = self._requested_by or number


def _end_in_words(code: int) -> str:
    """Return how a process ended, from its return code (negative: a signal)."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was ended by signal {-code}"
