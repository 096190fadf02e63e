"""Which processes the embedded stack keeps, and how they end."""

import contextlib
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from embedded import manage, stack
from embedded.console import Console
from embedded.folders import DataFolder
from embedded.options import read_options
from embedded.process import EmbeddedError, Program, current_account
from embedded.stack import programs
from embedded.supervisor import Stopped, Supervisor


def test_the_web_server_starts_after_the_migrations_and_the_bootstrap_which_makes_the_days_of_the_history(
    tmp_path, monkeypatch
):
    begun: list[str] = []

    class Watched:
        def __init__(self, console):
            self.crashes = self.shut_down = lambda: None

        def run(self, program, **_):
            begun.append(" ".join(program.command[-2:]))

        def keep(self, program):
            begun.append(program.name)

        def wait(self, condition, *, seconds, **_):
            if seconds == stack.FOREVER:
                raise Stopped(signal.SIGTERM)
            return True

    lookout = SimpleNamespace(start=lambda: None, stop=lambda: None)
    base = Program(name="", command=("python",), folder=Path("/"))
    monkeypatch.setattr(stack, "Supervisor", Watched)
    monkeypatch.setattr(stack, "Lookout", lambda *_, **__: lookout)
    monkeypatch.setattr(stack, "open_state", lambda *_: None)
    monkeypatch.setattr(stack, "start_servers", lambda *_: ("postgres://x", "redis://x"))
    monkeypatch.setattr(stack, "application", lambda *_: base)

    stack.run(read_options([]), DataFolder(path=tmp_path, account=current_account()), Console(1))

    assert begun == ["--noinput --skip-checks", "manage.py bootstrap", "web", "engine", "delivery", "beat", "mail"]


@pytest.mark.parametrize("name", ["engine", "delivery", "beat"])
def test_celery_is_killed_outright_when_its_supervisor_is_gone(name):
    kept = {
        program.name: program for program in programs(Program(name="", command=(), folder=Path("/")), read_options([]))
    }

    # SIGTERM makes it write to a pipe that nobody reads any more, and then it lives on.
    assert kept[name].death_signal == signal.SIGKILL


def test_the_web_server_is_asked_to_end_so_that_it_takes_its_worker_along():
    kept = {
        program.name: program for program in programs(Program(name="", command=(), folder=Path("/")), read_options([]))
    }

    assert kept["web"].death_signal == signal.SIGTERM


def test_the_image_runs_the_web_server_as_the_stack_does():
    said = (Path(__file__).parents[2] / "Dockerfile").read_text()

    assert "exec python -m heartbeat_project.serve --host $HEARTBEAT_HOST --port $HEARTBEAT_PORT" in said
    kept = programs(Program(name="", command=("python",), folder=Path("/")), read_options([]))
    web = next(program.command for program in kept if program.name == "web")
    assert web[:4] == ("python", "-m", "heartbeat_project.serve", "--host")


def test_a_command_on_a_folder_without_a_database_says_to_start_the_server_once(tmp_path):
    data = DataFolder(path=tmp_path, account=current_account())

    with pytest.raises(EmbeddedError, match=r"Start \./script/server once"), manage.database(data):
        pass


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["shell"], [["migrate", "--noinput", "--verbosity", "0"], ["shell"]]),
        (["makemigrations", "--check"], [["migrate", "--noinput", "--verbosity", "0"], ["makemigrations", "--check"]]),
        (["create_organization", "Acme", "ana@example.com"], []),
        ([], []),
    ],
)
def test_only_a_developers_command_makes_a_database_in_a_folder_without_one(tmp_path, monkeypatch, arguments, expected):
    ran = []
    monkeypatch.setenv("HEARTBEAT_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(manage, "leave_on_signals", lambda: None)
    monkeypatch.setattr(manage, "open_data_folder", lambda path: DataFolder(path=path, account=current_account()))
    monkeypatch.setattr(manage, "running", lambda server, data: contextlib.nullcontext())

    def run_beside(command, env):
        ran.append(command[2:])
        return 0

    monkeypatch.setattr(manage, "run_beside", run_beside)

    assert manage.main(arguments) == (0 if expected else 1)
    assert ran == expected


def test_the_supervisor_knows_a_mail_server_that_stands_in_a_file(tmp_path, monkeypatch):
    (tmp_path / "mail").write_text("smtp://me:secret@host\n")
    monkeypatch.delenv("EMAIL_URL", raising=False)
    monkeypatch.setenv("EMAIL_URL_FILE", str(tmp_path / "mail"))

    assert stack.variables(read_options([]))["EMAIL_URL"] == "smtp://me:secret@host"


def test_a_broker_that_does_not_start_keeps_nothing_else_from_starting(tmp_path):
    said, kept = [], []

    class Supervisor:
        console = SimpleNamespace(say=said.append)

        def serve(self, server):
            raise EmbeddedError("The broker ended with 1:\nBad file format")

        def keep(self, program):
            kept.append(program.name)

    options = replace(read_options([]), database_url="postgres://somewhere", redis_url="")

    addresses = stack.start_servers(options, DataFolder(path=tmp_path, account=current_account()), Supervisor())

    assert addresses[1].startswith("redis+socket://")
    assert kept == ["broker"]
    assert any("Bad file format" in line and "starts without the broker" in line for line in said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_is_interrupted_ends_with_the_signals_status_and_a_sentence(tmp_path, monkeypatch, capsys, number):
    def interrupted(*_: object) -> None:
        raise Stopped(number)

    monkeypatch.setenv("HEARTBEAT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(stack, "open_data_folder", lambda path: DataFolder(path=path, account=current_account()))
    monkeypatch.setattr(stack, "locked", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(stack, "check_port", lambda *_: None)
    monkeypatch.setattr(stack, "run", interrupted)

    assert stack.main([]) == 128 + number
    assert "The start was interrupted" in capsys.readouterr().err


def test_what_a_command_says_in_its_own_words_is_all_that_is_said(capfd):
    supervisor = Supervisor(Console(1))
    own = Program(name="migrate", command=("sh", "-c", "echo It is wrong.; exit 1"), folder=Path("/"))
    traceback = Program(name="migrate", command=("sh", "-c", "echo Traceback; exit 1"), folder=Path("/"))

    with pytest.raises(EmbeddedError, match=r"^It is wrong\.$"):
        supervisor.run(own, show=lambda _: None, seconds=10)
    with pytest.raises(EmbeddedError, match=r"^migrate failed \(exit code 1\)"):
        supervisor.run(traceback, show=lambda _: None, seconds=10)
