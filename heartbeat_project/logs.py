"""Structured logs on standard output, with no token or key in them."""

import logging
import logging.config
import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse

# The token of a ping, a link or a calendar in a path, and an API key wherever it stands.
_SECRETS = re.compile(r"(?i)(/heartbeat/|/r/|/voice/|/calendar/(?=[^/\s]+\.ics))[^/\s?#\"']{8,}|\bhb_[A-Za-z0-9_-]{8,}")


def redact(text: str) -> str:
    """Return `text` with tokens and API keys replaced by `***`."""
    return _SECRETS.sub(lambda found: f"{found.group(1) or ''}***", text)


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redact(value)
    return event


class _WithoutTraceback(logging.Filter):
    """Keep the line and leave out where in Django it came from: what strangers send is no fault of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True


def logging_config(*, level: str, json: bool) -> None:
    """Send every logger through structlog to standard output, as JSON lines or as text for a terminal."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(allow=("status_code", "method", "path", "took_ms")),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
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
                        _redact_event,
                        render,
                    ],
                },
            },
            "filters": {"without_traceback": {"()": _WithoutTraceback}},
            "handlers": {
                "stdout": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}
            },
            "root": {"handlers": ["stdout"], "level": level},
            "loggers": {
                "django.server": {"handlers": [], "propagate": True},
                "django.security.DisallowedHost": {"filters": ["without_traceback"]},
                "django.request": {"level": "ERROR"},  # a 4xx is an answer, not a fault; ours logs every request
                "celery.app.trace": {"level": "WARNING"},  # two lines for each tick, each second
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.beat": {"level": "WARNING"},
                "django_celery_beat": {"level": "WARNING"},
            },
        },
    )


_requests = logging.getLogger("heartbeat.request")


class RequestLog:
    """Log each request once: method, path without secrets, status and milliseconds."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request and write its line."""
        started = time.monotonic()
        response = self.get_response(request)
        _requests.info(
            "request",
            extra={
                "method": request.method,
                "path": redact(request.path),
                "status_code": response.status_code,
                "took_ms": round((time.monotonic() - started) * 1000, 1),
            },
        )
        return response
