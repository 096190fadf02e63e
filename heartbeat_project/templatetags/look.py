"""Times, states and durations as people read them; colours never stand alone."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import windows as weekly
from accounts.entitlements import Entitlement
from accounts.models import ContactMethod
from accounts.permissions import may
from escalation.models import Notification
from heartbeat_project.kernel import durations
from heartbeat_project.kernel.mail import STORED, mail_is_stored

register = template.Library()

_NAMED_ALERT = re.compile(r"Alert (\d+)\b")

# state -> (colour, icon, word)
_HEARTBEAT = {
    "healthy": ("ok", "ok", "Healthy"),
    "missed": ("bad", "bad", "Missed"),
    "waiting": ("wait", "wait", "Waiting"),
    "maintenance": ("warn", "tool", "In maintenance"),
    "disabled": ("idle", "off", "Disabled"),
}
_ALERT = {
    "open": ("bad", "bell", "Open"),
    "assigned": ("wait", "person", "Assigned"),
    "on_hold": ("warn", "hold", "On Hold"),
    "closed": ("ok", "ok", "Closed"),
    "cancelled": ("idle", "cross", "Cancelled"),
}
_NOTIFICATION = {
    "pending": ("wait", "wait", "Waiting to be sent"),
    "sending": ("wait", "wait", "Being sent"),
    "accepted": ("ok", "ok", "Sent"),
    "delivered": ("ok", "ok", "Delivered"),
    "failed": ("bad", "bad", "Failed"),
    "superseded": ("idle", "cross", "Not needed any more"),
}
_STORED = ("warn long", "off", STORED)
_PRIORITY = {
    "critical": ("bad", "bad", "Critical"),
    "high": ("warn", "bad", "High"),
    "medium": ("wait", "wait", "Medium"),
    "low": ("idle", "off", "Low"),
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """Return a small picture that says nothing by itself: words stand beside it."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>',
        static("heartbeat/icons.svg"),
        name,
    )


def _pill(look: tuple[str, str, str]) -> SafeString:
    colour, picture, word = look
    return format_html('<span class="pill {}">{}{}</span>', colour, icon(picture), word)


@register.simple_tag
def heartbeat_pill(state: str) -> SafeString:
    """Return a heartbeat's state."""
    return _pill(_HEARTBEAT[state])


@register.simple_tag
def alert_pill(status: str) -> SafeString:
    """Return an alert's status."""
    return _pill(_ALERT[status])


@register.simple_tag
def notification_pill(told: Notification) -> SafeString:
    """Return what became of a notification."""
    return _pill(_STORED if told.was_stored else _NOTIFICATION[told.status])


@register.simple_tag
def method_pill(method: ContactMethod) -> SafeString:
    """Return whether a contact method is used."""
    if not method.verified_at:
        return _pill(("warn", "wait", "Not confirmed"))
    if method.failing_since:
        return _pill(("bad", "bad", "Does not work"))
    if not method.enabled:
        return _pill(("", "off", "Switched off"))
    stored = method.kind == ContactMethod.Kind.EMAIL and mail_is_stored()
    return _pill(_STORED if stored else ("ok", "ok", "In use"))


@register.inclusion_tag("parts/tested.html")
def tested(method: ContactMethod, now: datetime) -> dict[str, Any]:
    """Return when a contact method was tested, and whether that message was only stored."""
    return {"method": method, "now": now, "stored": method.send_error == STORED}


@register.filter
def trouble(send_error: str) -> str:
    """Return what went wrong with the last message over a contact method; that it was stored stands in its pill."""
    return f"It could not be sent: {send_error}" if send_error and send_error != STORED else ""


@register.inclusion_tag("parts/mail_banner.html", takes_context=True)
def mail_banner(context: dict[str, Any]) -> dict[str, Any]:
    """Return a note for those who can change it that no mail leaves this installation; nothing where some does."""
    user = getattr(context.get("request"), "user", None)
    shown = mail_is_stored() and may(user, Entitlement.OUTBOUND_INTEGRATIONS)
    return {"shown": shown, "may_read": shown and may(user, Entitlement.SECURITY)}


@register.simple_tag
def priority_pill(priority: str) -> SafeString | str:
    """Return an alert's priority; None has no pill."""
    return _pill(_PRIORITY[priority]) if priority in _PRIORITY else ""


@register.simple_tag
def when(at: datetime | str | None, now: datetime, otherwise: str = "never") -> SafeString:
    """Return `3 minutes ago 14:02:11` in the reader's zone; the full time is in the tooltip."""
    if isinstance(at, str):
        at = parse_datetime(at)
    if at is None:
        return format_html('<span class="never">{}</span>', otherwise)
    local = timezone.localtime(at)
    return format_html(
        '<time datetime="{}" title="{}">{} <span class="exact">{}</span></time>',
        at.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S %Z}",
        relative(at, now),
        exact(local, timezone.localtime(now)),
    )


def relative(at: datetime, now: datetime) -> str:
    """Return how far away `at` is."""
    away = at - now
    if abs(away) < timedelta(seconds=1):
        return "just now"
    words = durations.in_words(_rounded(abs(away)))
    return f"in {words}" if away > timedelta(0) else f"{words} ago"


def _rounded(duration: timedelta) -> timedelta:
    """Leave out seconds from five minutes on, and minutes from a day on: nobody reads them."""
    unit = timedelta(seconds=1)
    if duration >= timedelta(minutes=5):
        unit = timedelta(hours=1) if duration >= timedelta(days=1) else timedelta(minutes=1)
    return duration // unit * unit


def exact(local: datetime, now: datetime) -> str:
    """Return the clock time of today, and the date where it is another day."""
    if local.date() == now.date():
        return f"{local:%H:%M:%S}"
    if local.year == now.year:
        return f"{local.day} {local:%b %H:%M}"
    return f"{local:%Y-%m-%d %H:%M}"


@register.filter
def in_words(minutes: Decimal | float) -> str:
    """Return a number of minutes as people say it."""
    return durations.in_words(durations.minutes(minutes))


@register.filter
def with_alert_link(text: str) -> SafeString | str:
    """Return a line of a heartbeat's log with a link on the alert that it begins with."""
    named = _NAMED_ALERT.match(text)
    if named is None:
        return text
    address = reverse("console:alert", args=[int(named[1])])
    return format_html('<a href="{}">{}</a>{}', address, named[0], text[named.end() :])


@register.filter
def windows(stored: list[dict[str, Any]]) -> str:
    """Return the weekly windows of a contact method as people write them."""
    return weekly.in_words(stored)


@register.filter
def item(mapping: dict[Any, Any], key: Any) -> Any:
    """Return what stands under a key that is a variable."""
    return mapping.get(key)
