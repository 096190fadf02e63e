"""Structured logs on standard output: one line per event, without tokens, keys and control characters."""

import logging
import logging.config
import re
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from heartbeat_project.masking import escaped, masked, masked_path


def _mask(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn every value into a number or a text without secrets."""
    for key, value in event.items():
        if not isinstance(value, int | float | None):
            text = value if isinstance(value, str) else repr(value)
            event[key] = masked(text)
    return event


def _escape(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape line breaks and control characters, so that a request cannot forge a line of the log.

    The lines of a traceback are kept and indented, so that none of them looks like another event.
    """
    for key, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if key in {"exception", "stack"} else [value]
            event[key] = "\n  ".join(escaped(line) for line in lines)
    return event


def _escape_json(_: Any, __: str, line: Any) -> str:
    """Escape DEL, the only control character that JSON does not escape."""
    return str(line).replace("\x7f", "\\u007f")


class _WithoutTraceback(logging.Filter):
    """Turns lines about malicious requests into warnings without traceback: they are not our errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            if record.name == "django.security.DisallowedHost":
                record.msg = str(record.msg).replace(" ALLOWED_HOSTS", " HEARTBEAT_ALLOWED_HOSTS")
        return True


class _OneLine(logging.Filter):
    """Passes one line per PAUSE_SECONDS about a server that is away, without traceback, and drops the others."""

    PAUSE_SECONDS: float

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._next_at = float("-inf")
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether this line is written; lines about other subjects always are."""
        if record.levelno < logging.WARNING or not self._is_about_it(record):
            return True
        with self._lock:
            now = self._monotonic()
            if now < self._next_at:
                self._left_out += 1
                return False
            left_out, self._left_out, self._next_at = self._left_out, 0, now + self.PAUSE_SECONDS
        text = record.getMessage().strip().partition("\n")[0]
        if record.exc_info and record.exc_info[1] and str(record.exc_info[1]) not in text:
            text = f"{text} ({record.exc_info[1]})"
        if left_out:
            text = f"{text} [{left_out} such lines were left out]"
        record.msg, record.args = text, None
        record.exc_info = record.exc_text = record.stack_info = None
        return True

    def _is_about_it(self, record: logging.LogRecord) -> bool:
        raise NotImplementedError


class OneLineAboutTheBroker(_OneLine):
    """One line about a broker that is away.

    Celery, kombu and redis write a line with each try, beat and the wake-ups several a second. The ticker of the
    workers writes every minute that they work without the broker.
    """

    SPEAKERS = ("celery", "kombu", "redis", "amqp", "heartbeat_project.kernel.wakeup")
    SUBJECT = re.compile(
        r"(?i)redis|valkey|broker|connect|scheduled task|woken for|wake-up|restarts|pidbox|BRPOP|maxmemory"
    )
    PAUSE_SECONDS = 600.0

    def _is_about_it(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in self.SPEAKERS and record.name not in self.SPEAKERS:
            return False
        # The error of a task itself is not about the broker.
        if record.name.startswith("celery.app.trace"):
            return False
        error = record.exc_info[1] if record.exc_info else None
        return bool(self.SUBJECT.search(record.getMessage()) or type(error).__module__.startswith(self.SPEAKERS))


class OneLineAboutTheDatabase(_OneLine):
    """One line about a database that is away or full, since every tick of every worker fails then, twice a second."""

    # Classes of SQLSTATE: connection, resources (a full disk, too many connections), shutting down or starting. Without
    # a SQLSTATE, the driver could not connect or lost the connection.
    CLASSES = ("08", "53", "57P")
    PAUSE_SECONDS = 60.0

    def _is_about_it(self, record: logging.LogRecord) -> bool:
        if record.name == "psycopg.pool":
            return True
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, OperationalError | InterfaceError):
            return False
        state = getattr(error.__cause__, "sqlstate", None)
        return state is None or state.startswith(self.CLASSES)


def logging_config(*, level: str, json: bool) -> None:
    """Configure every logger to write through structlog to standard output, as JSON lines or as text."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(allow=("status_code", "method", "path", "took_ms")),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: list[structlog.types.Processor] = (
        [structlog.processors.JSONRenderer(), _escape_json]
        if json
        else [_escape, structlog.dev.ConsoleRenderer(colors=False)]
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        _mask,
                        *render,
                    ],
                },
            },
            "filters": {
                "without_traceback": {"()": _WithoutTraceback},
                "one_line_about_the_broker": {"()": OneLineAboutTheBroker},
                "one_line_about_the_database": {"()": OneLineAboutTheDatabase},
            },
            "handlers": {
                "stdout": {
                    "class": "logging.StreamHandler",
                    "formatter": "line",
                    "filters": ["without_traceback", "one_line_about_the_broker", "one_line_about_the_database"],
                    "stream": "ext://sys.stdout",
                }
            },
            "root": {"handlers": ["stdout"], "level": level},
            "loggers": {
                "django.server": {"handlers": [], "propagate": True},
                "_granian": {"handlers": [], "propagate": True},  # it would write tracebacks with its own handler
                "django.request": {"level": "ERROR"},  # a 4xx is not an error, and RequestLog logs every request
                "celery.app.trace": {"level": "WARNING"},  # two lines for each tick, each second
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.worker.request": {"level": "WARNING"},  # a line for each tick that expired
                "celery.beat": {"level": "WARNING"},
                "django_celery_beat": {"level": "WARNING"},
            },
        },
    )


_requests = logging.getLogger("heartbeat.request")


class RequestLog:
    """Logs each request once: method, path without secrets, status and milliseconds."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, and log it when it is answered."""
        started = time.monotonic()
        response = self.get_response(request)
        _requests.info(
            "request",
            extra={
                "method": request.method,
                "path": masked_path(request.path_info, is_known=_is_ours(request)),
                "status_code": response.status_code,
                "took_ms": round((time.monotonic() - started) * 1000, 1),
            },
        )
        return response


def _is_ours(request: HttpRequest) -> bool:
    return request.resolver_match is not None or request.path_info.startswith("/static/")
