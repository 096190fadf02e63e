"""Maps errors to `application/problem+json` (RFC 9457)."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, JsonResponse
from psycopg import errors
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import set_rollback

from heartbeat_project.kernel.errors import DomainError, FieldError, NotNow

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
# The errors that the time limits of a web process's connections (statement, idle in transaction) raise.
_TIMEOUTS = (errors.QueryCanceled, errors.IdleInTransactionSessionTimeout)


def problem(status: int, *, detail: str, code: str, title: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the members of a problem document."""
    return {
        "type": "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }


# It may have gone away while it committed, so this does not say that nothing was stored.
STORE_AWAY = problem(
    503,
    detail="The database cannot be reached right now. Try again shortly.",
    code="store_away",
)


STORE_TOO_SLOW = problem(
    503,
    detail="The database took too long, so the request was stopped. Nothing was stored. "
    "Ask for less at once, or try again shortly.",
    code="store_too_slow",
)


def store_fault(error: BaseException | None) -> dict[str, Any] | None:
    """Return the 503 problem if the error means that the database is away or too slow; otherwise None."""
    if isinstance(error, DatabaseError) and isinstance(error.__cause__, _TIMEOUTS):
        return STORE_TOO_SLOW
    return STORE_AWAY if isinstance(error, OperationalError | InterfaceError) else None


def unavailable(body: dict[str, Any]) -> JsonResponse:
    """Return a 503 that says when to try again."""
    response = JsonResponse(body, status=503, content_type=CONTENT_TYPE)
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def pointers(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """Yield one `{"pointer", "code", "detail"}` for each error in DRF's nested error detail."""
    if isinstance(detail, dict):
        for key, inner in detail.items():
            step = "" if key == "non_field_errors" else f"/{str(key).replace('~', '~0').replace('/', '~1')}"
            yield from pointers(inner, path + step)
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list)
            yield from pointers(inner, f"{path}/{index}" if nested else path)
    elif detail:
        code = str(getattr(detail, "code", "invalid"))
        yield {"pointer": _speakable(path), "code": code, "detail": _speakable(str(detail))}


def _speakable(text: str) -> str:
    """Return the text without lone surrogates: messages quote the request, and UTF-8 cannot encode surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def problem_response(error: Exception, context: dict[str, Any]) -> Response | JsonResponse | None:
    """Return the response for an error that an API view raised; None if Django shall answer 500.

    This is DRF's EXCEPTION_HANDLER.
    """
    set_rollback()
    headers: dict[str, str] = {}
    if fault := store_fault(error):
        return unavailable(fault)
    if isinstance(error, FieldError):
        errors = [{"pointer": f"/{error.field}", "code": error.code, "detail": _speakable(str(error))}]
        body = problem(400, detail="The input is not valid.", code="invalid", title=error.title, errors=errors)
    elif isinstance(error, DomainError):
        if isinstance(error, NotNow):
            headers["Retry-After"] = str(error.retry_after)
        body = problem(error.status, detail=str(error), code=error.code, title=error.title)
    elif isinstance(error, exceptions.ValidationError):
        body = problem(
            400,
            detail="The input is not valid.",
            code="invalid",
            title=FieldError.title,
            errors=list(pointers(error.detail)),
        )
    elif isinstance(error, Http404):
        body = problem(404, detail="There is no such object.", code="not_found")
    elif isinstance(error, PermissionDenied):
        body = problem(403, detail="Your roles do not permit this.", code="forbidden")
    elif isinstance(error, exceptions.APIException):
        if getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
        if isinstance(error, exceptions.MethodNotAllowed) and (view := context.get("view")):
            headers["Allow"] = ", ".join(view.allowed_methods)
        body = problem(error.status_code, detail=str(error.detail), code=str(error.get_codes()))
    else:
        return None
    if (request := context.get("request")) is not None:
        # Also where the view renders something else, such as YAML.
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)
