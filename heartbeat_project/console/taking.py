"""What the pages share on which many alerts can be taken at once."""

from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Q, Window
from django.http import HttpRequest

from escalation.responses.open_alerts import OpenToReader
from escalation.responses.selectors import most_urgent_first

OTHERS_LISTED: Final = 20  # alerts of other messages that a page lists; the rest is a number


def taking_context(open_to: OpenToReader, *, alone: bool, now: datetime) -> dict[str, Any]:
    """Return the context of parts/take_all.html: how many alerts would be taken, and which of other messages.

    `alone` is true if the message, or the page, is about one alert.
    """
    own = open_to.own.order_by().aggregate(all=Count("pk"), tests=Count("pk", filter=Q(is_test=True)))
    # The same query counts and lists: with thousands of alerts, a second one would slow the page noticeably.
    counted = most_urgent_first(open_to.others).annotate(total=Window(Count("pk")))
    rows = list(counted.values("pk", "subject", "total")[:OTHERS_LISTED])
    others: int = rows[0]["total"] if rows else 0
    return {
        "free": own["all"] + others,
        "own": own["all"],
        "tests": own["tests"] if others or own["tests"] < own["all"] else 0,
        "alone": alone,
        "others": others,
        "listed_others": rows,
        "more_others": max(0, others - OTHERS_LISTED),
        "seen_at": now.isoformat(),
    }


def page_seen_at(request: HttpRequest) -> datetime | None:
    """Return when the page with the sent form was rendered; None if the form does not say, or not readably."""
    try:
        seen_at = datetime.fromisoformat(request.POST.get("seen_at", ""))
    except ValueError:
        return None
    return seen_at if seen_at.tzinfo else None
