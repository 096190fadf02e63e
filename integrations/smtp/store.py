"""Find the recipients of mails, and store mails, over one connection to the database that is closed when it is idle."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo

from integrations.inbound.mail_addresses import recipient_parameters, token_address
from integrations.smtp.config import Config

log = logging.getLogger("integrations.smtp")

# Seconds for all that is asked of the database at once, and after which an idle connection is closed.
TIMEOUT: Final = 20.0
CONNECT_TIMEOUT: Final = 5
IDLE: Final = 30.0
# Bytes of a mail that are kept, as by the endpoint for other mail servers.
MAX_MAIL: Final = 1_000_000
# As escalation.responses.tokens signs addresses.
_SALT: Final = "escalation.responses.tokens.address"
_TAG_LENGTH: Final = 45
_ID_BYTES, _SIGNATURE_BYTES = 16, 12
_ROOT: Final = Path(__file__).resolve().parents[2]
# As in integrations.inbound.mails, which must not be imported here: a test compares them.
SHARES: Final[dict[str, int]] = {
    "attempts": 3,
    "share": 2_000,
    "share_bytes": 256 * 1024 * 1024,
    "of_message": 20,
    "kept_free": 100,
    "kept_free_bytes": 32 * 1024 * 1024,
    "in_all": 10_000,
    "in_all_bytes": 1 << 30,
}


class Recipient(NamedTuple):
    """Whose mail it is: an integration's, or an answer to a message of ours."""

    integration_id: int | None
    organization_id: int
    message: UUID | None = None
    key: str = ""
    alias: str = ""


class Away(Exception):
    """The database cannot be asked now."""


class Full(Exception):
    """Too many mails of one organization wait to be read."""


class Store:
    """The database. All that is asked waits for its turn, at most TIMEOUT seconds."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turn = asyncio.Lock()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def recipient(self, address: str) -> Recipient | None:
        """Return whose address this is; None for one that nobody has. Raises Away."""
        message = signed_message(address, self._config)
        if message is not None:
            rows = await self._ask([(_statement("escalation", "organization_of_message"), {"message": str(message)})])
            return Recipient(None, rows[0][0], message) if rows else None
        parameters, keys = recipient_parameters([address])
        rows = await self._ask([(_statement("integrations", "mail_recipients"), {**parameters, "now": None})])
        if not rows:
            return None
        _place, integration_id, organization_id, is_alias = rows[0]
        return Recipient(integration_id, organization_id, None, keys[0], address.lower() if is_alias else "")

    async def store(self, raw: bytes, recipients: Sequence[Recipient], *, sender: str) -> None:
        """Commit a mail for each of its recipients, or for none. Raises Away and Full."""
        raw = raw[:MAX_MAIL]
        statements = [
            (_statement("integrations", "store_event"), _parameters(raw, one, sender))
            for one in dict.fromkeys(recipients)
        ]
        await self._ask(statements, each_returns=True)

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _ask(
        self, statements: Sequence[tuple[str, dict[str, Any]]], *, each_returns: bool = False
    ) -> list[tuple[Any, ...]]:
        """Execute the statements in one transaction and return the rows. With `each_returns`, no row raises Full."""
        try:
            async with asyncio.timeout(TIMEOUT), self._turn:
                return await self._execute(statements, each_returns=each_returns)
        except (psycopg.Error, OSError, TimeoutError) as error:
            log.warning("the database cannot be asked: %s", str(error).splitlines()[0] if str(error) else error)
            await self._drop()
            raise Away from error

    async def _execute(
        self, statements: Sequence[tuple[str, dict[str, Any]]], *, each_returns: bool
    ) -> list[tuple[Any, ...]]:
        connection = await self._open()
        rows: list[tuple[Any, ...]] = []
        async with connection.transaction():
            for statement, parameters in statements:
                cursor = await connection.execute(statement, parameters)
                found = await cursor.fetchall()
                if each_returns and not found:
                    raise Full
                rows += found
        self._close_when_idle()
        return rows

    async def _open(self) -> "psycopg.AsyncConnection[Any]":
        if self._closing is not None:
            self._closing.cancel()
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                make_conninfo(self._config.database_url, password=self._config.database_password or None),
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT,
                application_name="heartbeat smtp",
                # Parameters become part of the statement, as with Django: their types follow from where they stand.
                cursor_factory=psycopg.AsyncClientCursor,
            )
            await self._connection.execute("SET statement_timeout = '15s'")
        return self._connection

    def _close_when_idle(self) -> None:
        def close() -> None:
            task = asyncio.ensure_future(self.close())
            self._background.add(task)
            task.add_done_callback(self._background.discard)

        self._closing = asyncio.get_running_loop().call_later(IDLE, close)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def signed_message(address: str, config: Config) -> UUID | None:
    """Return the id of the message of ours that an address for answers names, if its signature is valid."""
    mailbox, _, host = config.reply_address.partition("@")
    name, _, own_host = address.lower().partition("@")
    name, _, tag = name.rpartition("+")
    if not mailbox or (name, own_host) != (mailbox, host) or len(tag) != _TAG_LENGTH or not tag.isascii():
        return None
    try:
        decoded = base64.b32decode(tag.upper() + "=" * (-len(tag) % 8))
    except (ValueError, binascii.Error):
        return None
    message, signature = decoded[:_ID_BYTES], decoded[_ID_BYTES:]
    if len(signature) != _SIGNATURE_BYTES:
        return None
    valid = [hmac.compare_digest(signature, _signature(message, secret)) for secret in config.secrets]
    return UUID(bytes=message) if any(valid) else None


def _signature(message: bytes, secret: str) -> bytes:
    """Return what django.utils.crypto.salted_hmac makes, cut off."""
    key = hashlib.sha256(_SALT.encode() + secret.encode()).digest()
    return hmac.new(key, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def _parameters(raw: bytes, recipient: Recipient, sender: str) -> dict[str, Any]:
    query = {"key": recipient.key, "alias": recipient.alias, "sender": sender}
    return {
        **SHARES,
        "type": "email",
        "received_at": None,
        "raw": raw,
        "size": len(raw),
        "answers": str(recipient.message) if recipient.message else None,
        "integration": recipient.integration_id,
        "organization": recipient.organization_id,
        "query": json.dumps({name: value for name, value in query.items() if value}),
    }


def _statement(app: str, name: str) -> str:
    """Return a statement of ours, without its comments."""
    if (app, name) not in _STATEMENTS:
        text = (_ROOT / app / "sql" / f"{name}.sql").read_text("utf-8")
        _STATEMENTS[app, name] = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return _STATEMENTS[app, name]


_STATEMENTS: Final[dict[tuple[str, str], str]] = {}


def is_own(address: str, config: Config) -> bool:
    """Return whether an address is at a domain of ours, so that it is unknown rather than elsewhere."""
    domain = address.rpartition("@")[2].lower()
    return domain in {config.domain, config.reply_address.rpartition("@")[2]} or token_address(address) is not None
