"""The settings of the mail server, from the same variables as those of the other processes."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

# The file in the data folder in which the mail server says why it does not listen; the pages show it.
FAULT_FILE = "mail-server.fault"


class ConfigError(ValueError):
    """A variable is wrong; the message is one sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where the mail server listens and stores. `domain` is that of our addresses, `port` 0 turns it off.

    `secrets` sign the addresses for answers, the present one first; `reply_address` is empty if mails cannot be
    answered. `fault_file` is None without a data folder.
    """

    host: str
    port: int
    domain: str
    database_url: str
    database_password: str = ""
    reply_address: str = ""
    secrets: Sequence[str] = ()
    certificate: str = ""
    key: str = ""
    fault_file: Path | None = None

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        """Return the settings. Raises ConfigError."""
        port = variables.get("HEARTBEAT_SMTP_PORT", "8025")
        if not (port.isascii() and port.isdecimal() and int(port) < 65536):
            raise ConfigError(f"HEARTBEAT_SMTP_PORT must be a number from 0 to 65535, not {port!r}.")
        if "DATABASE_URL" not in variables:
            raise ConfigError("DATABASE_URL is not set. script/server sets it itself.")
        certificate = variables.get("HEARTBEAT_SMTP_CERTIFICATE", "")
        if bool(certificate) != bool(variables.get("HEARTBEAT_SMTP_KEY")):
            raise ConfigError("HEARTBEAT_SMTP_CERTIFICATE and HEARTBEAT_SMTP_KEY are set together, or neither is.")
        base_url = variables.get("HEARTBEAT_BASE_URL") or f"http://{variables.get('HEARTBEAT_HOST', '127.0.0.1')}"
        folder = variables.get("HEARTBEAT_DATA_DIR", "")
        former = variables.get("SECRET_KEY_FALLBACKS", "")
        return cls(
            host=variables.get("HEARTBEAT_SMTP_HOST", "127.0.0.1"),
            port=int(port),
            domain=(variables.get("HEARTBEAT_MAIL_DOMAIN") or urlsplit(base_url).hostname or "localhost").lower(),
            database_url=variables["DATABASE_URL"],
            database_password=variables.get("DATABASE_PASSWORD", ""),
            reply_address=variables.get("HEARTBEAT_REPLY_ADDRESS", "").lower(),
            secrets=[key for key in (variables.get("SECRET_KEY", ""), *former.split(",")) if key.strip()],
            certificate=certificate,
            key=variables.get("HEARTBEAT_SMTP_KEY", ""),
            fault_file=Path(folder) / FAULT_FILE if folder else None,
        )


def listen(config: Config) -> list[socket.socket]:
    """Return the sockets on which the mail server listens. Raises OSError."""
    found = socket.getaddrinfo(config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in found:
            listening = socket.socket(family, kind, protocol)
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(100)
            listening.setblocking(False)
    except OSError:
        for listening in sockets:
            listening.close()
        raise
    return sockets
