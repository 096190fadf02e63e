"""What people and scripts see when something breaks on our side."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.defaults import page_not_found

from heartbeat_project.kernel.problems import CONTENT_TYPE, RETRY_AFTER_SECONDS, problem, store_away

_FOR_SCRIPTS = ("/api/", "/heartbeat/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404: a problem document to scripts, a page to people."""
    if request.path.lower().startswith(_FOR_SCRIPTS):
        body = problem(404, detail="There is nothing at this address.", code="not_found")
        return JsonResponse(body, status=404, content_type=CONTENT_TYPE)
    return page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 503 with Retry-After while the database is away, and 500 otherwise, without touching the database."""
    away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    if request.path.lower().startswith(_FOR_SCRIPTS):
        if away:
            return store_away()
        body = problem(500, detail="Something went wrong on our side. It was logged.", code="fault")
        return JsonResponse(body, status=500, content_type=CONTENT_TYPE)
    if away:
        words = {
            "title": "The database cannot be reached right now",
            "detail": "Nothing was saved. Try again in a moment: the page answers as soon as the database is back.",
        }
    else:
        words = {
            "title": "Something went wrong on our side",
            "detail": "It was logged. Nothing of what you sent was saved halfway. Try again, or go back to the alerts.",
        }
    response = HttpResponse(render_to_string("500.html", words), status=503 if away else 500)
    if away:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response
