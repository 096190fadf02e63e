"""Whole processes that cannot start: one sentence, no traceback, exit status 1; and odd folders in which they can."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from embedded import postgres
from embedded.folders import open_data_folder
from embedded.testing import running
from tests.processes import ROOT, Stack, free_port, until

pytestmark = pytest.mark.serial

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def place():
    """A folder that a service account can reach."""
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def refused(*command: str, **env: str) -> tuple[str, str]:
    """Run a process that cannot start; return what it says on standard output, and on standard error."""
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=clean | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout, done.stderr.strip()


def server(folder: Path, **env: str) -> str:
    """Return why `script/server` cannot start, in one line."""
    more = {"HEARTBEAT_DATA_DIR": str(folder), "HEARTBEAT_PORT": str(free_port()), "REDIS_URL": NOWHERE}
    _, sentence = refused("embedded.stack", **more, **env)  # how far it came, before
    assert sentence.startswith("Heartbeat cannot start. ")
    assert len(sentence.splitlines()) == 1
    return sentence


def web(**env: str) -> str:
    """Return why the web process cannot start, in one line."""
    more = {
        "SECRET_KEY": "for-tests-only",
        "REDIS_URL": NOWHERE,
        "DJANGO_SETTINGS_MODULE": "heartbeat_project.settings",
    }
    output, sentence = refused("heartbeat_project.serve", "--port", str(free_port()), **more, **env)
    assert output == ""
    assert len(sentence.splitlines()) == 1
    return sentence


@pytest.mark.parametrize("start", ["server", "web"])
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "DATABASE_URL must be the address of a PostgreSQL database"),
        ("postgres://me:pa/ss@host/name", "DATABASE_URL must be an address such as"),
        ("postgres://me@host:99999/name", "DATABASE_URL must be an address such as"),
        ("postgres://me@host", "DATABASE_URL must end with the name of the database"),
    ],
)
def test_a_mistake_in_the_databases_address(place, start, url, sentence):
    said = server(place / "data", DATABASE_URL=url) if start == "server" else web(DATABASE_URL=url)

    assert sentence in said
    assert "pa/ss" not in said


def test_a_database_that_is_not_there(place):
    assert "cannot be used" in server(place / "data", DATABASE_URL="postgres://me@127.0.0.1:1/name")


def test_a_data_folder_that_cannot_be_written_to(place):
    data = open_data_folder(place / "data")
    data.path.chmod(0o500)

    assert "cannot be written to by" in server(data.path)


@pytest.mark.parametrize(
    ("command", "beginning"),
    [
        (("embedded.stack",), "Heartbeat cannot start."),
        (("embedded.manage", "check"), "The command could not be run."),
        (("embedded.restore", "backup.hb"), "Nothing was restored."),
        (("embedded.testing", "--dir", "{data}", "--", "true"), "The command could not be run."),
    ],
)
def test_a_file_that_cannot_be_opened(place, command, beginning):
    """Here something else has its name; a full disk and a missing right read alike."""
    data = open_data_folder(place / "data")
    (data.path / "supervisor.lock").mkdir()

    arguments = [argument.format(data=data.path) for argument in command]
    _, said = refused(*arguments, HEARTBEAT_DATA_DIR=str(data.path), HEARTBEAT_PORT=str(free_port()))

    assert said == (
        f"{beginning} {data.path / 'supervisor.lock'}: Is a directory. "
        "Something else has the name of the file. Move it away, and try again."
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_data_folder_of_root_with_other_things_in_it(place):
    folder = place / "full"
    folder.mkdir()
    (folder / "thesis").touch()

    assert "belongs to root and is not empty" in server(folder)


@contextlib.contextmanager
def database(folder: Path):
    """Run a database of one's own, and give its address."""
    data = open_data_folder(folder)
    own = postgres.locate(data)
    with running(own, data):
        yield own.url


@pytest.mark.long
def test_a_second_process_without_the_secret_key_of_its_database(place):
    with database(place / "own") as url:
        stack = Stack(folder=place / "first", env={"DATABASE_URL": url, "REDIS_URL": NOWHERE})
        stack.start(seconds=180)
        try:
            assert "This database belongs to an installation with another SECRET_KEY" in server(
                place / "second", DATABASE_URL=url
            )
            assert stack.ready(), "the first goes on"
        finally:
            assert stack.stop() == 0


@pytest.mark.long
def test_a_new_volume_with_a_quote_in_its_path(place):
    """A volume has `lost+found`; as root, a folder is made in it, because the servers do not run as root."""
    volume = place / 'it\'s "new"'
    volume.mkdir(mode=0o755)
    (volume / "lost+found").mkdir(mode=0o700)
    stack = Stack(folder=volume, env={})
    stack.start(seconds=180)
    try:
        assert stack.sql("SELECT email FROM accounts_user") == [("owner@example.com",)]
        until(lambda: "broker" not in stack.get("/readyz")[1]["parts"], seconds=30, what="the broker is reached")
    finally:
        assert stack.stop() == 0
    inside = volume / "heartbeat" if os.geteuid() == 0 else volume
    assert (inside / "secret_key").exists()
    assert (volume / "lost+found").exists()
