"""Reads the settings from the environment; a wrong one ends the process with a sentence that names the variable."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

import environ
import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection

from heartbeat_project.variables import MAIL_PORTS, TRUE, VariableError, resolved_variables

POSTGRES = ("postgres", "postgresql")
OLDEST_POSTGRES = 15  # major version
# The URL schemes of the transports that are installed with Celery; docs/scaling.md lists the tested ones.
BROKERS = ("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "pyamqp")
MAIL_OPTIONS = ("EMAIL_USE_TLS", "EMAIL_USE_SSL")
_FALSE = ("0", "false", "no", "off", "n", "f")
_ENCODED = "Percent-encode the special characters of a password, such as %40 for @."


class Environment(environ.Env):  # type: ignore[misc]  # it has no types
    """The environment's variables: an empty one counts as unset, NAME_FILE may name a file, a `$` has no meaning."""

    @cached_property
    def ENVIRON(self) -> dict[str, str]:  # noqa: N802  django-environ's name
        """The variables that are set, read once. Raises ImproperlyConfigured."""
        try:
            return resolved_variables(os.environ)
        except VariableError as error:
            raise ImproperlyConfigured(str(error)) from None

    def get_value(
        self,
        var: str,
        cast: Any = None,
        default: Any = environ.Env.NOTSET,
        parse_default: bool = False,  # noqa: ARG002  django-environ's
    ) -> Any:
        """Return the variable's value, or the default. Raises ImproperlyConfigured for a value of another type."""
        text = self.ENVIRON.get(var)
        if text is None:
            if default is self.NOTSET:
                raise ImproperlyConfigured(f"{var} is not set. script/server and script/manage set it themselves.")
            return default
        try:
            return self.parse_value(text, cast)
        except (ValueError, TypeError) as error:
            kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(cast, "in JSON")
            reason = f", not {text!r}" if cast in {bool, int, float} else f" ({error})"
            raise ImproperlyConfigured(f"{var} must be {kind}{reason}.") from None

    @classmethod
    def parse_value(cls, value: str, cast: Any) -> Any:
        """Return `value` as `cast`. Unlike django-environ, refuse numbers and booleans that are not exact."""
        if cast is bool:
            if value.lower() not in TRUE + _FALSE:
                raise ValueError(value)
            return value.lower() in TRUE
        if cast is float:
            return float(value)
        if cast is list:
            return [item.strip() for item in value.split(",") if item.strip()]
        return super().parse_value(value, cast)

    def number(self, var: str, *, default: int, minimum: int = 1, maximum: int | None = None) -> int:
        """Return a whole number from `minimum` to `maximum`. Raises ImproperlyConfigured."""
        value = int(self.int(var, default=default))
        if value < minimum or (maximum is not None and value > maximum):
            bounds = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
            raise ImproperlyConfigured(f"{var} must be {bounds}, not {value}.")
        return value

    def address(self, var: str, *, schemes: Sequence[str], default: str = "", example: str) -> str:
        """Return a URL with a host and one of these schemes, without trailing slash. Raises ImproperlyConfigured."""
        text = str(self.str(var, default=default)).rstrip("/")
        parts = _split(var, text, example=example) if text else None
        if parts is not None and (parts.scheme not in schemes or not parts.hostname):
            raise ImproperlyConfigured(f"{var} must be an address such as {example}.")
        return text

    def networks(self, var: str, *, example: str) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return networks; a single address counts as one. Raises ImproperlyConfigured."""
        try:
            return tuple(ip_network(network) for network in self.list(var, default=[]))
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} must hold networks such as {example} ({error}).") from None

    def database(self) -> dict[str, Any]:
        """Return Django's parameters of DATABASE_URL, with DATABASE_PASSWORD if set. Raises ImproperlyConfigured."""
        example = "postgres://user:password@host/name"
        text = str(self.str("DATABASE_URL"))
        parts = _split("DATABASE_URL", text, example=example)
        if parts.scheme not in POSTGRES:
            raise ImproperlyConfigured(f"DATABASE_URL must be the address of a PostgreSQL database, such as {example}.")
        if not parts.path.strip("/"):
            raise ImproperlyConfigured(f"DATABASE_URL must end with the name of the database, such as {example}.")
        config: dict[str, Any] = self.db_url_config(text)
        if password := self.str("DATABASE_PASSWORD", default=""):
            config["PASSWORD"] = password
        return config

    def mail(self) -> dict[str, Any]:
        """Return Django's settings for EMAIL_URL. Raises ImproperlyConfigured."""
        example = "smtp+tls://user:password@host:587"
        text = str(self.str("EMAIL_URL"))
        parts = _split("EMAIL_URL", text, example=example)
        if parts.scheme not in self.EMAIL_SCHEMES:
            raise ImproperlyConfigured(
                f"EMAIL_URL must be an address such as {example}; it can begin with {', '.join(MAIL_PORTS)}."
            )
        unknown = [name for name, _ in parse_qsl(parts.query) if name.upper() not in MAIL_OPTIONS]
        if unknown:
            raise ImproperlyConfigured(
                f"EMAIL_URL knows no option {unknown[0]!r}: for TLS begin it with smtp+tls:// or smtp+ssl://."
            )
        config: dict[str, Any] = self.email_url_config(text)
        config.pop("OPTIONS", None)
        # The library leaves them as text, and the text "false" is true.
        config |= {name: str(config[name]).lower() in TRUE for name in MAIL_OPTIONS if name in config}
        if all(config.get(name) for name in MAIL_OPTIONS):
            raise ImproperlyConfigured(
                "EMAIL_URL asks for both kinds of TLS: begin it with smtp+tls:// or smtp+ssl://."
            )
        if parts.scheme in MAIL_PORTS:
            if not parts.hostname:
                raise ImproperlyConfigured(f"EMAIL_URL must name a mail server, such as {example}.")
            config["EMAIL_PORT"] = config["EMAIL_PORT"] or MAIL_PORTS[parts.scheme]
        return config

    def broker(self) -> str:
        """Return REDIS_URL without connecting to it. Raises ImproperlyConfigured."""
        example = "redis://:password@host:6379/0"
        text = str(self.str("REDIS_URL"))
        # Several servers are separated by semicolons.
        for address in text.split(";"):
            parts = _split("REDIS_URL", address, example=example)
            if parts.scheme not in BROKERS:
                raise ImproperlyConfigured(f"REDIS_URL must be an address such as {example}.")
        return text


def _split(var: str, text: str, *, example: str) -> SplitResult:
    """Return the parts of a URL. Raises ImproperlyConfigured if it cannot be read or its port is invalid."""
    try:
        parts = urlsplit(text)
        # libpq takes several hosts, separated by commas, each with its own port.
        port = None if "," in parts.netloc else parts.port
    except ValueError as error:
        detail = ": the port is not a number from 1 to 65535" if "ort" in str(error) else ""
        raise ImproperlyConfigured(f"{var} must be an address such as {example}{detail}. {_ENCODED}") from None
    if port == 0 or not text.isprintable():
        raise ImproperlyConfigured(f"{var} must be an address such as {example}. {_ENCODED}")
    return parts


def check_database(parameters: Mapping[str, Any]) -> None:
    """Open a session with the parameters of Django's connection, and close it.

    Raises ImproperlyConfigured with the reason in one sentence if that fails or the server is too old.
    """
    arguments = {name: value for name, value in parameters.items() if name not in {"pool", "cursor_factory", "context"}}
    try:
        with psycopg.connect(**arguments, autocommit=True) as session:
            version = session.info.server_version // 10_000
    except psycopg.Error as error:
        server = str(arguments.get("host") or "the local socket")
        if arguments.get("port"):
            server += f", port {arguments['port']}"
        raise ImproperlyConfigured(
            f"The database {arguments.get('dbname')!r} at {server} cannot be used: {_reason(error)}. "
            "Check DATABASE_URL."
        ) from None
    if version < OLDEST_POSTGRES:
        raise ImproperlyConfigured(
            f"DATABASE_URL names a PostgreSQL {version}. Use PostgreSQL {OLDEST_POSTGRES} or newer."
        )


def _reason(error: psycopg.Error) -> str:
    """Return the driver's reason for the last of its attempts, without the address."""
    lines = re.findall(r"failed: (?!connection to server)(.+)", str(error)) or str(error).strip().splitlines()
    return re.sub(r"^(FATAL|ERROR):\s+", "", lines[-1]).rstrip(".") if lines else type(error).__name__


def load_settings() -> None:
    """Import the settings before Django or Celery does; exit with one sentence if they are wrong."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heartbeat_project.settings")
    with one_sentence():
        import_module(os.environ["DJANGO_SETTINGS_MODULE"])


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Exit with status 1 and one sentence if the block finds a wrong setting or cannot reach the database."""
    try:
        try:
            yield
        except OperationalError:
            check_database(connection.get_connection_params())
            raise
    except ImproperlyConfigured as error:
        sys.exit(str(error))
