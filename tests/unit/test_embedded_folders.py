"""The data folder: whose it is, its lock, its secrets, and where its sockets lie."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from embedded.folders import LONGEST_SOCKET_PATH, default_data_path, locked, make_folder, open_data_folder
from embedded.process import EmbeddedError, current_account, service_account

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="needs root")


@pytest.fixture
def place():
    """A folder that a service account can reach; pytest's own is private to who runs it."""
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_new_data_folder_is_private_to_the_account_that_servers_run_as(place):
    data = open_data_folder(place / "data")

    status = data.path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == data.account.uid
    assert (data.account.uid != 0) or not ROOT


@needs_root
def test_root_runs_the_servers_of_a_users_folder_as_that_user(place):
    folder = place / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)

    assert open_data_folder(folder).account.uid == 65534


@needs_root
def test_a_folder_that_the_service_account_cannot_enter_is_refused(place):
    place.chmod(0o700)

    with pytest.raises(EmbeddedError, match="cannot enter the data folder"):
        open_data_folder(place / "data")


@needs_root
def test_a_full_folder_of_root_is_refused_and_keeps_its_owner(place):
    folder = place / "full"
    folder.mkdir()
    (folder / "thesis").touch()

    with pytest.raises(EmbeddedError, match=r"belongs to root and is not empty.*such as .*/full/heartbeat"):
        open_data_folder(folder)

    assert folder.stat().st_uid == 0


@needs_root
def test_a_new_volume_gets_a_folder_in_it_at_every_start(place):
    (place / "lost+found").mkdir(mode=0o700)

    first, second = open_data_folder(place), open_data_folder(place)

    assert first.path == second.path == place / "heartbeat"
    assert first.path.stat().st_uid == first.account.uid
    assert place.stat().st_uid == 0


def test_a_folder_that_cannot_be_written_to_is_refused(place):
    data = open_data_folder(place / "data")
    data.path.chmod(0o500)

    with pytest.raises(EmbeddedError, match="cannot be written to by"):
        open_data_folder(place / "data")


def test_a_path_that_cannot_be_shown_is_refused(place):
    with pytest.raises(EmbeddedError, match="cannot be printed"):
        open_data_folder(place / "da\nta")


@pytest.mark.parametrize("name", ["it's", "two words", 'a "b"', "50%", "a,b", "a@b", "Übung"])
def test_sockets_lie_elsewhere_if_the_path_is_not_plain(place, name):
    sockets = open_data_folder(place / name).sockets()

    assert sockets.parent in {Path("/run"), Path("/tmp")}
    sockets.rmdir()


@pytest.mark.skipif(ROOT, reason="root may use any folder")
def test_a_folder_of_somebody_else_is_refused():
    with pytest.raises(EmbeddedError, match="belongs to root"):
        open_data_folder(Path("/usr"))


def test_a_file_in_its_place_is_refused(place):
    (place / "data").touch()

    with pytest.raises(EmbeddedError, match="Cannot use the data folder"):
        open_data_folder(place / "data")


def test_two_supervisors_cannot_hold_one_folder(place):
    data = open_data_folder(place / "data")
    holder = "from pathlib import Path; from embedded.folders import *\n"
    holder += f"with locked(open_data_folder(Path({str(data.path)!r}))): print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(EmbeddedError, match=rf"Another instance \(process {other.pid}\)"), locked(data):
            pass
        other.kill()
    with locked(data):  # the lock of a killed process is free
        pass


def test_a_secret_is_made_once_and_is_private(place):
    data = open_data_folder(place / "data")

    secret = data.secret("secret_key")

    assert len(secret) >= 43
    assert data.secret("secret_key") == secret
    status = (data.path / "secret_key").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, data.account.uid)


def test_sockets_lie_in_the_data_folder_if_their_path_is_short_enough(place):
    data = open_data_folder(place / "data")

    assert data.sockets() == data.path / "run"
    assert stat.S_IMODE(data.sockets().stat().st_mode) == 0o700


def test_sockets_of_a_deep_data_folder_lie_in_a_short_private_folder(place):
    (place / ("d" * 90)).mkdir(mode=0o755)
    data = open_data_folder(place / ("d" * 90) / "data")

    sockets = data.sockets()

    assert len(str(sockets / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET_PATH
    assert sockets == data.sockets()
    assert (stat.S_IMODE(sockets.stat().st_mode), sockets.stat().st_uid) == (0o700, data.account.uid)
    sockets.rmdir()


def test_a_link_or_a_strangers_folder_is_not_used_for_sockets(place):
    (place / "run").symlink_to("/tmp")

    with pytest.raises(EmbeddedError, match="must be a folder that belongs to"):
        make_folder(place / "run", current_account())


@needs_root
def test_root_keeps_its_data_apart_from_a_project_that_the_service_account_cannot_reach(place):
    place.chmod(0o700)
    assert default_data_path(place) == Path("/var/lib/heartbeat")
    place.chmod(0o755)
    assert default_data_path(place) == place / ".heartbeat"
    assert service_account().uid != 0
