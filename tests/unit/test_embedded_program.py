"""Web and workers never run as root: their account runs the program in its place, or a copy; or the start refuses."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from embedded import program, stack
from embedded.console import Console
from embedded.folders import open_data_folder
from embedded.options import PROJECT, read_options
from embedded.process import EmbeddedError, base_env, current_account, rights
from embedded.program import PARTS, ProgramPlace


@pytest.fixture
def data(short_folder):
    return open_data_folder(short_folder / "data")


@pytest.fixture
def short_folder():
    """A folder that a service account can enter."""
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def given(monkeypatch):
    monkeypatch.setenv("HEARTBEAT_OWNER_PASSWORD", "a long enough password")
    monkeypatch.setenv("HEARTBEAT_OWNER_API_KEY", "hb_a-key")
    monkeypatch.setenv("HEARTBEAT_OWNER_API_KEY_FILE", "/run/secrets/key")
    monkeypatch.setenv("HEARTBEAT_BASE_URL", "http://example.org")


def test_the_program_runs_as_the_account_of_the_servers_and_knows_no_secret_of_the_owners(data, given):
    options = read_options([])
    env = stack.environment(options, data, ("postgres://x@/x", "redis://x"))

    base = stack.application(data, options, env, Console(os.open(os.devnull, os.O_WRONLY)))

    assert (base.account or current_account()).uid == data.account.uid
    assert data.account.uid != 0
    assert {name for name in base.env if "OWNER" in name} <= {"HEARTBEAT_OWNER_EMAIL"}
    assert base.env["HEARTBEAT_BASE_URL"] == "http://example.org"
    # Bootstrap alone is notified.
    assert {"HEARTBEAT_OWNER_PASSWORD", "HEARTBEAT_OWNER_API_KEY"} <= env.keys()
    seen = "import os, heartbeat_project.variables, django; print(os.geteuid(), *os.environ)"
    done = subprocess.run(
        [*base.command, "-c", seen],
        cwd=base.folder,
        env={**base_env(), **base.env},
        capture_output=True,
        text=True,
        check=True,
        **rights(base.account),
    )
    uid, *names = done.stdout.split()
    assert int(uid) == data.account.uid
    assert "SECRET_KEY" in names
    assert "HEARTBEAT_OWNER_PASSWORD" not in names


def test_database_and_broker_get_nothing_of_ours(given, monkeypatch):
    for name in ("SECRET_KEY", "DATABASE_URL", "DATABASE_PASSWORD_FILE", "EMAIL_URL", "HEARTBEAT_TWILIO_AUTH_TOKEN"):
        monkeypatch.setenv(name, "secret")

    assert not [name for name, value in base_env().items() if value == "secret" or name.startswith("HEARTBEAT_")]
    assert "PATH" in base_env()


def test_a_program_that_the_account_cannot_enter_is_copied_once(data, short_folder):
    closed = short_folder / "closed"
    closed.mkdir()
    for part in PARTS:
        (closed / part).parent.mkdir(exist_ok=True)
        if (PROJECT / part).is_dir():
            (closed / part).mkdir()
            (closed / part / "__init__.py").write_text("")
        else:
            (closed / part).write_text("")
    (closed / ".env").write_text("SECRET_KEY=secret")
    closed.chmod(0o700)
    said: list[str] = []
    console = Console(os.open(os.devnull, os.O_WRONLY))
    console.say = lambda text, **_: said.append(text)  # type: ignore[method-assign]
    here = ProgramPlace(folder=closed, python=sys.executable)

    place, again = (program.readable_place(data, here, console) for _ in range(2))

    if data.account == current_account():  # not root: nothing is closed to us
        assert place == here
        return
    assert place == again
    assert place.folder == data.path / "program" / "project"
    assert len(said) == 1
    assert not (place.folder / ".env").exists()
    (closed / "accounts" / "new.py").write_text("")
    program.readable_place(data, here, console)
    assert len(said) == 2, "a new version is copied anew"


def test_a_program_that_cannot_be_copied_either_ends_the_start_with_what_to_do(data, monkeypatch):
    monkeypatch.setattr(program, "_works", lambda *_: False)
    monkeypatch.setattr(program, "_copy_folder", lambda *_, **__: None)
    monkeypatch.setattr(program, "_link_or_copy", lambda *_: None)
    here = ProgramPlace(folder=PROJECT, python=sys.executable)

    with pytest.raises(EmbeddedError, match=r"never as root.*HEARTBEAT_PYTHON"):
        program.readable_place(data, here, Console(os.open(os.devnull, os.O_WRONLY)))


def test_a_port_that_the_account_may_not_have_ends_the_start_with_what_to_do(data, monkeypatch):
    monkeypatch.setenv("HEARTBEAT_PORT", "81")
    monkeypatch.setattr(stack, "succeeds_as", lambda *_, **__: False)
    here = ProgramPlace(folder=PROJECT, python=sys.executable)

    with pytest.raises(EmbeddedError, match="Set HEARTBEAT_PORT to 1024 or more"):
        stack.check_bind(here, read_options([]), data.account)


def test_a_link_that_the_account_has_put_there_is_not_followed(data, short_folder, monkeypatch):
    elsewhere = short_folder / "elsewhere"
    elsewhere.mkdir()
    secret = elsewhere / "secret"
    secret.touch(mode=0o600)
    (data.path / "program").symlink_to(elsewhere)
    monkeypatch.setattr(program, "_works", lambda *_: False)
    monkeypatch.setattr(program, "_copy_folder", lambda *_, **__: None)
    monkeypatch.setattr(program, "_link_or_copy", lambda *_: None)
    here = ProgramPlace(folder=PROJECT, python=sys.executable)

    with pytest.raises(EmbeddedError):
        program.readable_place(data, here, Console(os.open(os.devnull, os.O_WRONLY)))

    assert [*elsewhere.iterdir()] == [secret]
    assert secret.stat().st_mode & 0o777 == 0o600
