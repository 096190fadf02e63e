"""Calendars of duty at secret addresses, for calendar programs that cannot sign in."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from escalation.services.calendars import feed_text
from escalation.shift_models import CalendarFeed
from heartbeat_project.kernel import clock


def feed_url(feed: CalendarFeed) -> str:
    """Return the address that a calendar program subscribes to."""
    return f"{settings.BASE_URL}{reverse('calendar', args=[feed.token])}"


@require_safe
@cache_control(private=True, max_age=300)
def calendar(request: HttpRequest, token: str) -> HttpResponse:  # noqa: ARG001 - a view
    """Answer the calendar at this address; an unknown or rotated one is a 404."""
    text = feed_text(token, now=clock.now()) if "\x00" not in token else None
    if text is None:
        raise Http404
    return HttpResponse(
        text,
        content_type="text/calendar; charset=utf-8",
        headers={"Content-Disposition": 'inline; filename="on-call.ics"', "X-Robots-Tag": "noindex"},
    )
