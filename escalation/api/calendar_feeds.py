"""Calendars of on-call shifts at secret addresses, for calendar programs that cannot sign in."""

import threading
from typing import Final

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from escalation.models.on_call import CalendarFeed
from escalation.oncall.calendars.feeds import feed_text
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.problems import problem, unavailable

# At most two calendars are written at once by one process, so that it has time for other requests.
_SLOTS: Final = threading.BoundedSemaphore(2)
# How long a request waits for a slot before it is answered 503.
WAIT_SECONDS: Final = 5.0
BUSY: Final = problem(
    503, detail="Too many calendars are being read at once. Try again shortly.", code="calendars_busy"
)


def feed_url(feed: CalendarFeed) -> str:
    """Return the secret address to which a calendar program subscribes."""
    return f"{settings.BASE_URL}/calendar/{feed.token}.ics"


@require_safe
@cache_control(private=True, max_age=300)
def calendar(request: HttpRequest, token: str) -> HttpResponse:  # noqa: ARG001 - a view
    """Answer the calendar of this token; 404 for a token that is unknown or was rotated."""
    # Before the first query, so that a request that waits holds no database connection.
    if not _SLOTS.acquire(timeout=WAIT_SECONDS):
        return unavailable(BUSY)
    try:
        text = feed_text(token, now=clock.now())
    finally:
        _SLOTS.release()
    if text is None:
        raise Http404
    return HttpResponse(
        text,
        content_type="text/calendar; charset=utf-8",
        headers={"Content-Disposition": 'inline; filename="on-call.ics"', "X-Robots-Tag": "noindex"},
    )
