"""One mapper from errors to `application/problem+json` (RFC 9457)."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from heartbeat_project.kernel.errors import DomainError, FieldError

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5


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


STORE_AWAY = problem(
    503,
    detail="The database cannot be reached right now. Nothing was stored. Try again shortly.",
    code="store_away",
)


def store_away() -> JsonResponse:
    """Return the 503 that says the database cannot be reached and when to try again."""
    response = JsonResponse(STORE_AWAY, status=503, content_type=CONTENT_TYPE)
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
    """Return the text without lone surrogates: messages quote what was sent, and UTF-8 cannot carry those back."""
    return text.encode("utf-8", "replace").decode("utf-8")


def problem_response(error: Exception, context: dict[str, Any]) -> Response | JsonResponse | None:
    """Answer an error raised in an API view; None leaves it to Django (a 500).

    This is DRF's EXCEPTION_HANDLER.
    """
    set_rollback()
    headers: dict[str, str] = {}
    if isinstance(error, OperationalError | InterfaceError):
        return store_away()
    if isinstance(error, FieldError):
        errors = [{"pointer": f"/{error.field}", "code": error.code, "detail": str(error)}]
        body = problem(400, detail="The input is not valid.", code="invalid", title=error.title, errors=errors)
    elif isinstance(error, DomainError):
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
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)
