"""The data folder: its owner, its lock, its secrets, and a folder for sockets whose path is short enough."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shlex
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embedded.process import Account, EmbeddedError, current_account, owner_of, service_account, succeeds_as

LOCK = "supervisor.lock"
# Bytes. sun_path holds 108 bytes on Linux and 104 on macOS, including the closing NUL.
LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103
LONGEST_SOCKET_NAME = len(".s.PGSQL.5432.lock")
# Characters that need no quoting in PostgreSQL's list of folders, libpq's hosts, the broker's URL and configuration.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")
# The folder that a new ext4 volume contains, and the one that is created beside it.
NEW_VOLUME, IN_A_VOLUME = "lost+found", "heartbeat"


class FolderInUse(EmbeddedError):
    """Another instance runs on this data folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFolder:
    """The folder with everything that an instance must not lose, and the account that its servers run as."""

    path: Path
    account: Account

    def folder(self, name: str) -> Path:
        """Return the sub-folder `name`, created with mode 0700 for the account unless it exists."""
        return make_folder(self.path / name, self.account)

    def secret(self, name: str) -> str:
        """Return the secret in the file `name` (mode 0600), generated from 256 random bits on first use."""
        path = self.path / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            write_private(path, secrets.token_urlsafe(32) + "\n", self.account)
            return path.read_text().strip()

    def sockets(self) -> Path:
        """Return the folder for unix sockets: in the data folder, or elsewhere if its path is too long or not plain."""
        inside = self.path / "run"
        is_short = len(os.fsencode(inside)) + 1 + LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH
        if is_short and PLAIN_PATH.fullmatch(str(inside)):
            return make_folder(inside, self.account)
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        base = Path("/run" if current_account().uid == 0 and os.access("/run", os.W_OK) else "/tmp")  # noqa: S108  checked below
        return make_folder(base / f"heartbeat-{digest}", self.account)


def default_data_path(project: Path) -> Path:
    """Return `.heartbeat` in the project, or `/var/lib/heartbeat` if root's service account cannot enter it."""
    inside = project / ".heartbeat"
    if (
        current_account().uid != 0
        or inside.exists()
        or succeeds_as(service_account(), ["test", "-x", str(project)], folder=Path("/"))
    ):
        return inside
    return Path("/var/lib/heartbeat")


def open_data_folder(path: Path) -> DataFolder:
    """Create or open the data folder at `path`. If we are root, the servers run as its owner or the service account.

    Raises EmbeddedError if the folder cannot be used.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  a symbolic link is not resolved, so that the path stays short
    if not str(path).isprintable():
        raise EmbeddedError(
            f"The path of the data folder, {str(path)!r}, contains characters that cannot be printed. "
            "Set HEARTBEAT_DATA_DIR to another."
        )
    me = current_account()
    if me.uid == 0 and _is_new_volume(path):
        path /= IN_A_VOLUME
    try:
        created = not path.exists()
        path.mkdir(mode=0o755 if me.uid == 0 else 0o700, parents=True, exist_ok=True)
        owner = owner_of(path)
        if me.uid == 0 and owner.uid == 0:
            owner = service_account()
            if not created and any(path.iterdir()):
                raise EmbeddedError(
                    f"The data folder {path} belongs to root and is not empty, but the servers run as {owner.name}. "
                    f"Set HEARTBEAT_DATA_DIR to a separate folder, such as {path / IN_A_VOLUME}, "
                    "or, if the folder is Heartbeat's own, change its owner: "
                    f"chown -R {owner.name} {shlex.quote(str(path))}"
                )
            os.chown(path, owner.uid, owner.gid)
            path.chmod(0o700)
    except OSError as error:
        raise EmbeddedError(
            f"Cannot use the data folder {path}: {error.strerror}. Set HEARTBEAT_DATA_DIR to another."
        ) from error
    if me.uid not in {0, owner.uid}:
        raise EmbeddedError(
            f"The data folder {path} belongs to {owner.name}, but you are {me.name}. "
            f"Start as {owner.name} or root, or set HEARTBEAT_DATA_DIR to another."
        )
    if me.uid == 0 and not succeeds_as(owner, ["test", "-x", str(path)], folder=Path("/")):
        raise EmbeddedError(
            f"The servers run as {owner.name}, which cannot enter the data folder {path}. "
            "Set HEARTBEAT_DATA_DIR to one it can, such as /var/lib/heartbeat."
        )
    if not os.access(path, os.W_OK) or not succeeds_as(owner, ["test", "-w", str(path)], folder=Path("/")):
        raise EmbeddedError(
            f"The data folder {path} cannot be written to by {owner.name}. "
            "Make it writable, or set HEARTBEAT_DATA_DIR to another."
        )
    return DataFolder(path=path, account=owner)


def _is_new_volume(path: Path) -> bool:
    """Return whether `path` is the root of a new volume, which contains nothing but what ext4 or we created."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError:
        return False
    return NEW_VOLUME in names and names <= {NEW_VOLUME, IN_A_VOLUME}


@contextlib.contextmanager
def locked(data: DataFolder) -> Iterator[None]:
    """Lock the data folder for this process. Raises FolderInUse if another process has locked it."""
    descriptor = os.open(data.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        give(descriptor, data.account)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise FolderInUse(
                f"Another instance (process {holder or 'unknown'}) is using the data folder {data.path}. "
                "Stop it first, or set HEARTBEAT_DATA_DIR to another."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # The file is not removed: two processes could then lock two files of the same name.


def make_folder(path: Path, account: Account) -> Path:
    """Create the folder `path` with mode 0700 for `account`, or check that the existing one belongs to it.

    Another user may own the parent folder, such as /tmp, and may have created `path` first. Raises EmbeddedError.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        give(path, account)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid:
        raise EmbeddedError(f"{path} must be a folder that belongs to {account.name}. Move it away and start again.")
    if stat.S_IMODE(status.st_mode) != 0o700:
        path.chmod(0o700)
    return path


def write_private(path: Path, text: str, account: Account) -> None:
    """Write `text` to `path` atomically, readable only by `account`."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        give(descriptor, account)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Sync the folder `path`, so that the names in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give(path: Path | int, account: Account) -> None:
    """Make `account` the owner of `path` or of an open file, if we are root."""
    if os.geteuid() == 0:
        os.chown(path, account.uid, account.gid)
