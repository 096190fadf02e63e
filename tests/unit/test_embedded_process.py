"""Children: their rights, their death with us, and how they are stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from embedded import process
from embedded.process import (
    Account,
    Program,
    current_account,
    end_group,
    end_orphan,
    rights,
    runs_here,
    service_account,
    spawn,
    stop,
    succeeds_as,
    wait_until,
)

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can give rights up")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")


def program(code: str, **options: object) -> Program:
    return Program(name="child", command=(sys.executable, "-c", code), folder=Path("/"), **options)  # type: ignore[arg-type]  # any field


def output_of(child: Program) -> str:
    reader, writer = os.pipe()
    started = spawn(child, output=writer)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    started.wait()
    return text.strip()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_child_leads_a_session_of_its_own_and_keeps_its_files_private():
    said = output_of(program("import os; print(os.getpid() == os.getsid(0), oct(os.umask(0)))"))

    assert said == "True 0o77"


@needs_root
def test_a_dropped_child_has_no_right_of_root_left():
    account = service_account()

    reader, writer = os.pipe()
    child = spawn(
        Program(name="id", command=("/bin/sh", "-c", "id -u; id -g; id -G"), folder=Path("/"), account=account),
        output=writer,
    )
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read().split()
    child.wait()

    assert account.uid != 0
    assert said == [str(account.uid), str(account.gid), str(account.gid)]


@needs_root
def test_root_itself_cannot_be_the_service_account(monkeypatch):
    class Entry:
        pw_uid = 0
        pw_gid = 0

    monkeypatch.setattr("pwd.getpwnam", lambda _: Entry())

    with pytest.raises(process.EmbeddedError, match="never run as root"):
        service_account()


def test_nobody_but_root_changes_users():
    assert rights(current_account()) == {}
    assert rights(None) == {}
    assert ("user" in rights(Account(name="x", uid=12345, gid=12345))) is ROOT


@needs_linux
def test_a_child_dies_when_its_supervisor_is_killed():
    supervisor = (
        "import sys, time; from pathlib import Path; from embedded.process import Program, spawn;"
        "child = spawn(Program(name='c', command=(sys.executable, '-c', 'import time; time.sleep(600)'),"
        " folder=Path('/')), output=2); print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", supervisor], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)

    parent.kill()
    parent.wait()
    parent.stdout.close()

    assert wait_until(lambda: not alive(pid), seconds=5)


def test_a_child_that_ignores_all_its_signals_is_killed():
    reader, writer = os.pipe()
    deaf = program(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)",
        stop_signals=((signal.SIGTERM, 0.1),),
    )
    child = spawn(deaf, output=writer)
    os.read(reader, 10)

    stop(child, deaf)

    assert child.returncode == -signal.SIGKILL
    os.close(reader)
    os.close(writer)


@needs_linux
def test_what_a_killed_child_started_goes_with_it():
    reader, writer = os.pipe()
    parent = spawn(
        program("import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"),
        output=writer,
    )
    grandchild = int(os.read(reader, 20))
    parent.kill()
    parent.wait()
    assert alive(grandchild)

    end_group(parent)

    assert wait_until(lambda: not alive(grandchild), seconds=5)
    os.close(reader)
    os.close(writer)


@pytest.fixture
def sleeper(tmp_path):
    """A process that does nothing, in `tmp_path`."""
    with subprocess.Popen(["sleep", "600"], cwd=tmp_path) as child:
        # Popen returns when the old program's files are closed, a moment before the new one's arguments are there.
        assert wait_until(lambda: bool(Path(f"/proc/{child.pid}/cmdline").read_bytes()), seconds=5)
        yield child
        child.kill()


@needs_linux
def test_a_stranger_with_the_same_number_is_not_taken_for_the_server(sleeper, tmp_path):
    name = Path(f"/proc/{sleeper.pid}/exe").readlink().name

    assert runs_here(sleeper.pid, program=name, folder=tmp_path, mark="sleep")
    assert not runs_here(sleeper.pid, program=name, folder=tmp_path.parent, mark="sleep")
    assert not runs_here(sleeper.pid, program="postgres", folder=tmp_path, mark="sleep")
    sleeper.kill()
    sleeper.wait()
    assert not runs_here(sleeper.pid, program=name, folder=tmp_path, mark="sleep")


@needs_linux
def test_where_the_system_hides_a_process_its_command_line_decides(sleeper, tmp_path, monkeypatch):
    def hidden(_: Path) -> Path:
        raise PermissionError

    monkeypatch.setattr(Path, "readlink", hidden)

    assert runs_here(sleeper.pid, program="sleep", folder=tmp_path, mark="600")
    assert not runs_here(sleeper.pid, program="sleep", folder=tmp_path, mark="601")


def test_an_orphan_that_listens_to_the_gentle_signal_gets_no_other(sleeper):
    end_orphan(sleeper.pid, gently=signal.SIGINT, harshly=signal.SIGKILL, gone=lambda: sleeper.poll() is not None)

    assert sleeper.returncode == -signal.SIGINT


def test_what_cannot_be_run_does_not_succeed(tmp_path):
    assert succeeds_as(None, ["true"], folder=tmp_path)
    assert not succeeds_as(None, ["false"], folder=tmp_path)
    assert not succeeds_as(None, [str(tmp_path / "none")], folder=tmp_path)
