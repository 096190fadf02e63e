"""Reads the options of an instance from arguments, environment variables and the `.env` file."""

import argparse
import errno
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from embedded.folders import default_data_path
from embedded.process import EmbeddedError
from heartbeat_project.variables import VariableError, base_url_error, read_env_file, resolved_variables

PROJECT = Path(__file__).resolve().parents[1]
# An address to listen on -> the one by which this machine reaches it.
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  does not listen there itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of `script/server`; `database_url` and `redis_url` are empty for the embedded servers.

    `from_file` has the variables of the env file that the environment does not set.
    """

    data: Path
    host: str
    port: int
    base_url: str
    database_url: str
    redis_url: str
    secret_key: str
    demo: bool
    release: bool
    from_file: Mapping[str, str]

    @property
    def probe(self) -> tuple[str, int]:
        """Return the host and port by which this machine reaches the web server."""
        return WILDCARDS.get(self.host, self.host), self.port


def read_options(arguments: Sequence[str]) -> Options:
    """Read arguments and environment. Raises EmbeddedError if a value is wrong."""
    parser = argparse.ArgumentParser(
        prog="script/server", description="Start Heartbeat with everything it needs, and stop it with Ctrl-C."
    )
    parser.add_argument("--demo", action="store_true", help="also fill the organization with demo data")
    parser.add_argument(
        "--release",
        action="store_true",
        help="after a restore, judge deadlines and notify people again (also works while Heartbeat is running)",
    )
    parsed = parser.parse_args(arguments)
    try:
        in_file = read_env_file(PROJECT / ".env", os.environ, warn=lambda text: print(text, file=sys.stderr))
        env = resolved_variables(in_file | {name: value for name, value in os.environ.items() if value})
    except VariableError as error:
        raise EmbeddedError(str(error)) from None
    host, port = env.get("HEARTBEAT_HOST", "127.0.0.1"), env.get("HEARTBEAT_PORT", "8000")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise EmbeddedError(f"HEARTBEAT_PORT must be a number from 1 to 65535, not {port!r}.")
    public_host = socket.gethostname() if host in WILDCARDS else host
    base_url = env.get("HEARTBEAT_BASE_URL") or f"http://{_in_url(public_host)}:{port}"
    if not _is_web_address(base_url):
        raise EmbeddedError(
            f"HEARTBEAT_BASE_URL must be an address such as https://heartbeat.example.org, not {base_url!r}."
        )
    if (base_error := base_url_error(base_url)) is not None:
        raise EmbeddedError(base_error)
    folder = env.get("HEARTBEAT_DATA_DIR", "")
    data = Path(folder).expanduser() if folder else default_data_path(PROJECT)
    return Options(
        data=data,
        host=host,
        port=int(port),
        base_url=base_url.rstrip("/"),
        database_url=env.get("DATABASE_URL", ""),
        redis_url=env.get("REDIS_URL", ""),
        secret_key=env.get("SECRET_KEY", ""),
        demo=parsed.demo,
        release=parsed.release,
        from_file={name: value for name, value in in_file.items() if not os.environ.get(name)},
    )


def check_port(host: str, port: int) -> None:
    """Raise EmbeddedError if the web server cannot listen on this host and port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        reason = "another program uses the port" if error.errno == errno.EADDRINUSE else error.strerror
        raise EmbeddedError(
            f"Cannot listen on {host}, port {port}: {reason}. Set HEARTBEAT_PORT (or HEARTBEAT_HOST) to another."
        ) from error


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
