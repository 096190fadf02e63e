"""Error pages: problem documents for scripts, HTML for people."""

import sys
from typing import Final

from django.conf import settings
from django.core.exceptions import BadRequest, DisallowedHost, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.defaults import page_not_found

from heartbeat_project.kernel.errors import NotNow
from heartbeat_project.kernel.problems import (
    CONTENT_TYPE,
    RETRY_AFTER_SECONDS,
    STORE_TOO_SLOW,
    problem,
    store_fault,
    unavailable,
)
from heartbeat_project.kernel.public_url import origin

_FOR_SCRIPTS = ("/api/", "/heartbeat/")
UNKNOWN_HOST: Final = (
    "Heartbeat does not know the host name of this address. Its own one is in HEARTBEAT_BASE_URL; list others in "
    "HEARTBEAT_ALLOWED_HOSTS."
)
MAX_ORIGIN: Final = 200  # characters of an address that a page repeats


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400, with the reason if our own code refused the request."""
    reason = str(exception) if isinstance(exception, BadRequest) else ""
    if isinstance(exception, TooManyFieldsSent):
        reason = "The request has too many fields."
    if isinstance(exception, DisallowedHost):
        reason = UNKNOWN_HOST
    if request.path_info.lower().startswith(_FOR_SCRIPTS):
        detail = reason or "Something in the address or in the data is not valid."
        body = problem(400, detail=detail, code="bad_request")
        return JsonResponse(body, status=400, content_type=CONTENT_TYPE)
    return HttpResponse(render_to_string("400.html", {"detail": reason}), status=400)


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403 to a form without a valid token, with the setting to change if the page had another address.

    Browsers send no cookies of ours over http if HEARTBEAT_BASE_URL is https, and forms of other addresses are refused.
    """
    opened_at = request.headers.get("Origin", "")
    is_elsewhere = reason.startswith("Origin checking failed") and opened_at != "null"
    if is_elsewhere or (opened_at.startswith("http:") and origin().startswith("https:")):
        title = "This page was opened at another address"
        detail = (
            f"Your browser opened it at {opened_at[:MAX_ORIGIN]}, but HEARTBEAT_BASE_URL is {settings.BASE_URL}. "
            "Nothing was saved. Open it there. If people should use the other address, set HEARTBEAT_BASE_URL to it."
        )
    else:
        title = "This form is too old"
        detail = (
            "You signed in or out since it was loaded, or your browser does not send cookies. Nothing was saved. "
            "Go back, reload the page and try again."
        )
    return HttpResponse(render_to_string("403_csrf.html", {"title": title, "detail": detail}), status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    if request.path_info.lower().startswith(_FOR_SCRIPTS):
        body = problem(404, detail="There is nothing at this address.", code="not_found")
        return JsonResponse(body, status=404, content_type=CONTENT_TYPE)
    return page_not_found(request, exception)


def not_now(request: HttpRequest, error: NotNow) -> HttpResponse:
    """Answer that the request was refused for now, with the reason and a Retry-After."""
    response: HttpResponse
    if request.path_info.lower().startswith(_FOR_SCRIPTS):
        body = problem(error.status, detail=str(error), code=error.code, title=error.title)
        response = JsonResponse(body, status=error.status, content_type=CONTENT_TYPE)
    else:
        texts = {"title": error.title, "detail": f"{error} Nothing was saved."}
        response = HttpResponse(render_to_string("500.html", texts), status=error.status)
    response["Retry-After"] = str(error.retry_after)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 503 with Retry-After while the database is away or too slow, otherwise 500; ask the database nothing."""
    fault = store_fault(sys.exc_info()[1])
    if request.path_info.lower().startswith(_FOR_SCRIPTS):
        if fault:
            return unavailable(fault)
        body = problem(500, detail="Something went wrong on our side. The error was logged.", code="fault")
        return JsonResponse(body, status=500, content_type=CONTENT_TYPE)
    if fault is STORE_TOO_SLOW:
        texts = {
            "title": "This took too long",
            "detail": "The request asked for too much at once, or the database is busy. Nothing was saved. "
            "Ask for less, or try again in a moment.",
        }
    elif fault:
        texts = {
            "title": "The database cannot be reached right now",
            "detail": "Nothing was saved. Try again in a moment: the page answers as soon as the database is back.",
        }
    else:
        texts = {
            "title": "Something went wrong on our side",
            "detail": "The error was logged, and nothing was saved. Try again, or go back to the alerts.",
        }
    response = HttpResponse(render_to_string("500.html", texts), status=503 if fault else 500)
    if fault:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response
