"""The supervisor: restarts what crashed and says so, and stops everything in order."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedded import supervisor as module
from embedded.process import EmbeddedError, Program
from embedded.supervisor import Stopped, Supervisor


class Shown:
    """A console that keeps what it is notified."""

    def __init__(self):
        self.lines: list[str] = []

    def say(self, text, *, source="heartbeat"):
        self.lines.append(f"{source}: {text}")

    def flush(self):
        pass

    def holds(self, text, times=1):
        return sum(text in line for line in self.lines) >= times


class Server:
    """A server that is ready at once and notes its end."""

    url = "nowhere"

    def __init__(self, program, marks):
        self.program = program
        self.marks = marks
        self.prepared = 0

    def prepare(self):
        self.prepared += 1

    def is_ready(self, pid):
        return (self.marks / f"{self.program.name}.up").exists()


def python(name, code, **options):
    return Program(name=name, command=(sys.executable, "-c", code), folder=Path("/tmp"), **options)


def long_running(name, marks):
    """A program that notes when it is up and when it is asked to end."""
    code = (
        "import pathlib, signal, sys, time\n"
        f"marks = pathlib.Path({str(marks)!r})\n"
        "def end(*_):\n"
        f"    (marks / 'order').open('a').write('{name} ')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"(marks / '{name}.up').touch()\n"
        f"print('{name} is up', flush=True)\n"
        "time.sleep(600)"
    )
    return python(name, code)


@pytest.fixture
def console():
    return Shown()


@pytest.fixture
def supervisor(console):
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    supervisor = Supervisor(console)
    yield supervisor
    supervisor.shut_down()
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_the_lines_of_a_child_are_shown_with_its_name(supervisor, console):
    supervisor.keep(python("web", "import time; print('hello', flush=True); time.sleep(600)"))

    assert supervisor.wait(lambda: console.holds("web: hello"), seconds=10)


def test_a_line_is_shown_at_once_however_seldom_the_supervisor_looks(supervisor, console):
    supervisor.keep(python("web", "import time; time.sleep(0.3); print('hello', flush=True); time.sleep(600)"))
    began = time.monotonic()

    assert supervisor.wait(lambda: console.holds("web: hello"), seconds=60, pause=50)
    assert time.monotonic() - began < 25


def test_a_crash_without_a_word_is_noticed_within_a_quiet_pause(supervisor, console):
    supervisor.keep(python("web", "import time; time.sleep(0.3)"))

    assert supervisor.wait(lambda: console.holds("ended with exit code 0"), seconds=20, pause=module.QUIET_TICK)
    assert module.QUIET_TICK <= 0.5


def test_a_crashed_child_is_started_again_with_growing_pauses_and_said_so(supervisor, console, monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    child = python("web", "import os; os._exit(3)")
    supervisor.keep(child)
    supervisor._children[0].pause = 0.01

    assert supervisor.wait(lambda: console.holds("was started again", times=3), seconds=20)
    pauses = [line.split(" in ")[1] for line in console.lines if "ended with exit code 3" in line]
    assert pauses[:3] == ["0.01 s.", "0.02 s.", "0.04 s."]


def test_a_child_that_does_not_stay_up_is_named_with_its_last_line(supervisor, console, monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    supervisor.keep(python("web", "print('Address already in use', flush=True); raise SystemExit(1)"))
    supervisor.keep(python("engine", "import time; time.sleep(600)"))
    supervisor._children[0].pause = 0.01
    assert supervisor.crashes() == ""
    assert supervisor.wait(lambda: console.holds("was started again", times=3), seconds=20)
    assert re.fullmatch(
        r"web has ended [34] times in a row; its last line: Address already in use", supervisor.crashes()
    )


def test_a_killed_child_is_started_again(supervisor, console, tmp_path):
    supervisor.keep(long_running("engine", tmp_path))
    assert supervisor.wait(lambda: console.holds("engine is up"), seconds=10)
    supervisor._children[0].process.kill()

    assert supervisor.wait(lambda: console.holds("engine is up", times=2), seconds=10)
    assert console.holds("engine was ended by SIGKILL; it starts again in 0.5 s.")


def test_a_server_is_prepared_again_before_it_starts_again(supervisor, console, tmp_path):
    server = Server(long_running("database", tmp_path), tmp_path)
    supervisor.serve(server)
    supervisor._children[0].process.kill()

    assert supervisor.wait(lambda: console.holds("database was started again"), seconds=10)
    assert server.prepared == 2


def test_programs_end_before_servers_and_the_first_server_ends_last(supervisor, console, tmp_path):
    for name in ("database", "broker"):
        supervisor.serve(Server(long_running(name, tmp_path), tmp_path))
    supervisor.keep(long_running("web", tmp_path))
    supervisor.wait((tmp_path / "web.up").exists, seconds=10)

    supervisor.shut_down()

    assert (tmp_path / "order").read_text() == "web broker database "


def test_a_request_to_stop_ends_the_waiting(supervisor):
    os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        supervisor.wait(lambda: False, seconds=10)


def test_a_second_request_ends_programs_that_are_slow_to_stop(supervisor, console, tmp_path):
    deaf = python(
        "delivery",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
        stop_signals=((signal.SIGTERM, 60.0),),
    )
    supervisor.keep(deaf)
    assert supervisor.wait(lambda: console.holds("delivery: up"), seconds=10)
    expedite = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(.5); os.kill({os.getpid()}, 15)"])

    supervisor.shut_down()

    assert expedite.wait() == 0
    assert console.holds("delivery did not stop in time and is killed.")


def test_a_step_that_fails_shows_its_last_words(supervisor):
    with pytest.raises(EmbeddedError, match=r"(?s)migrate failed \(exit code 2\).*no such table"):
        supervisor.run(python("migrate", "print('no such table'); raise SystemExit(2)"), show=[].append, seconds=10)


def test_a_step_gives_each_line_and_ends(supervisor):
    lines: list[str] = []

    supervisor.run(python("bootstrap", "print('sign in\\nas ana')"), show=lines.append, seconds=10)

    assert lines == ["sign in", "as ana"]


def test_a_server_that_ends_at_once_is_explained(supervisor, tmp_path):
    broken = Server(python("database", "print('no space left'); raise SystemExit(1)"), tmp_path)

    with pytest.raises(EmbeddedError, match=r"(?s)database ended with 1.*no space left"):
        supervisor.serve(broken)
