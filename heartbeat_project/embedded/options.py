"""What an instance is started with: arguments, environment variables and an `.env` file."""

import argparse
import errno
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from heartbeat_project.embedded.folders import default_data_path
from heartbeat_project.embedded.process import EmbeddedError

PROJECT = Path(__file__).resolve().parents[2]
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  names what others chose


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `script/server` has to know; `database_url` and `redis_url` are empty for the embedded servers."""

    data: Path
    host: str
    port: int
    base_url: str
    database_url: str
    redis_url: str
    secret_key: str
    demo: bool
    given: Mapping[str, str]

    @property
    def probe(self) -> tuple[str, int]:
        """Return where this machine reaches the web server."""
        return WILDCARDS.get(self.host, self.host), self.port


def read_options(arguments: Sequence[str]) -> Options:
    """Read arguments and environment; raise EmbeddedError for what cannot be meant."""
    parser = argparse.ArgumentParser(
        prog="script/server", description="Start Heartbeat with everything it needs, and stop it with Ctrl-C."
    )
    parser.add_argument("--demo", action="store_true", help="also fill a demo organization")
    demo = parser.parse_args(arguments).demo
    given = read_env_file(PROJECT / ".env")
    env = given | {name: value for name, value in os.environ.items() if value}
    host, port = env.get("HEARTBEAT_HOST", "127.0.0.1"), env.get("HEARTBEAT_PORT", "8000")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise EmbeddedError(f"HEARTBEAT_PORT must be a number from 1 to 65535, not {port!r}.")
    base_url = (
        env.get("HEARTBEAT_BASE_URL") or f"http://{_in_url(socket.gethostname() if host in WILDCARDS else host)}:{port}"
    )
    if urlsplit(base_url).scheme not in {"http", "https"} or not urlsplit(base_url).hostname:
        raise EmbeddedError(
            f"HEARTBEAT_BASE_URL must be an address such as https://heartbeat.example.org, not {base_url!r}."
        )
    return Options(
        data=Path(env["HEARTBEAT_DATA_DIR"]).expanduser()
        if "HEARTBEAT_DATA_DIR" in env
        else default_data_path(PROJECT),
        host=host,
        port=int(port),
        base_url=base_url.rstrip("/"),
        database_url=env.get("DATABASE_URL", ""),
        redis_url=env.get("REDIS_URL", ""),
        secret_key=env.get("SECRET_KEY", ""),
        demo=demo,
        given=given,
    )


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of an env file: `NAME=value` lines, quotes optional; empty ones do not count."""
    values = {}
    if path.is_file():
        for line in path.read_text().splitlines():
            name, equals, value = line.strip().removeprefix("export ").partition("=")
            value = value.strip()
            if equals and not name.startswith("#"):
                values[name.strip()] = value[1:-1] if value[:1] in {"'", '"'} and value[-1:] == value[:1] else value
    return {name: value for name, value in values.items() if value}


def check_port(host: str, port: int) -> None:
    """Raise EmbeddedError if the web server could not listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        reason = "the port is taken by another program" if error.errno == errno.EADDRINUSE else error.strerror
        raise EmbeddedError(
            f"Cannot listen on {host}, port {port}: {reason}. Set HEARTBEAT_PORT (or HEARTBEAT_HOST) to another."
        ) from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
