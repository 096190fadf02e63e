"""The data folder: whose it is, the one lock on it, its secrets, and a place for sockets that is short enough."""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heartbeat_project.embedded.process import (
    Account,
    EmbeddedError,
    current_account,
    owner_of,
    service_account,
    succeeds_as,
)

LOCK = "supervisor.lock"
# sun_path holds 108 bytes with its closing NUL on Linux, 104 on macOS.
LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103
LONGEST_SOCKET_NAME = len(".s.PGSQL.5432.lock")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFolder:
    """Where an instance keeps everything it must not lose, and the account that its servers run as."""

    path: Path
    account: Account

    def folder(self, name: str) -> Path:
        """Return the sub-folder `name`, made with mode 0700 for the account."""
        return make_folder(self.path / name, self.account)

    def secret(self, name: str) -> str:
        """Return the secret kept in file `name` (mode 0600), made of 256 random bits on first use."""
        path = self.path / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            write_private(path, secrets.token_urlsafe(32) + "\n", self.account)
            return path.read_text().strip()

    def sockets(self) -> Path:
        """Return the folder for unix sockets: in the data folder, or a short one where that path is too long."""
        inside = self.path / "run"
        if len(os.fsencode(inside)) + 1 + LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH:
            return make_folder(inside, self.account)
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        base = Path("/run" if current_account().uid == 0 and os.access("/run", os.W_OK) else "/tmp")  # noqa: S108  checked below
        return make_folder(base / f"heartbeat-{digest}", self.account)


def default_data_path(project: Path) -> Path:
    """Return `.heartbeat` in the project, or `/var/lib/heartbeat` where root's service account cannot get there."""
    inside = project / ".heartbeat"
    if (
        current_account().uid != 0
        or inside.exists()
        or succeeds_as(service_account(), ["test", "-x", str(project)], folder=Path("/"))
    ):
        return inside
    return Path("/var/lib/heartbeat")


def open_data_folder(path: Path) -> DataFolder:
    """Make or open the data folder at `path`; as root, its servers run as its owner, or as the service account.

    Raises EmbeddedError where it cannot be used.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  a link stays as it was written, so that its path stays short
    me = current_account()
    try:
        created = not path.exists()
        path.mkdir(mode=0o755 if me.uid == 0 else 0o700, parents=True, exist_ok=True)
        owner = owner_of(path)
        if me.uid == 0 and owner.uid == 0:
            owner = service_account()
            if created or not any(path.iterdir()):
                os.chown(path, owner.uid, owner.gid)
                path.chmod(0o700)
    except OSError as error:
        raise EmbeddedError(
            f"Cannot use the data folder {path}: {error.strerror}. Set HEARTBEAT_DATA_DIR to another."
        ) from error
    if me.uid not in {0, owner.uid}:
        raise EmbeddedError(
            f"The data folder {path} belongs to {owner.name}, and this is {me.name}. "
            f"Start as {owner.name} or root, or set HEARTBEAT_DATA_DIR to another."
        )
    if me.uid == 0 and not succeeds_as(owner, ["test", "-x", str(path)], folder=Path("/")):
        raise EmbeddedError(
            f"The servers run as {owner.name}, which cannot enter the data folder {path}. "
            "Set HEARTBEAT_DATA_DIR to one it can, such as /var/lib/heartbeat."
        )
    return DataFolder(path=path, account=owner)


@contextlib.contextmanager
def locked(data: DataFolder) -> Iterator[None]:
    """Hold the data folder for this process alone; raise EmbeddedError if another holds it."""
    descriptor = os.open(data.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        give(descriptor, data.account)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise EmbeddedError(
                f"Another instance (process {holder or 'unknown'}) runs on the data folder {data.path}. "
                "Stop it first, or set HEARTBEAT_DATA_DIR to another."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # The file stays: removing it would let two processes lock two files of one name.


def make_folder(path: Path, account: Account) -> Path:
    """Make `path` with mode 0700 for `account`, or check that it is just that; somebody else may own its parent."""
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
    """Write `text` to `path` at once and whole, readable by `account` alone."""
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
    """Make the names in `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give(path: Path | int, account: Account) -> None:
    """Hand `path` (or an open file) over to `account`, where we are root."""
    if os.geteuid() == 0:
        os.chown(path, account.uid, account.gid)
