"""Template tags for times, states and durations; every colour comes with an icon and a word."""

import re
from datetime import UTC, datetime, timedelta
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
from accounts.entitlements import BuiltinRole
from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from accounts.services.restores import held_restore, may_release
from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from heartbeat_project.kernel import durations
from heartbeat_project.kernel.mail import STORED, mail_is_stored
from integrations.heartbeats.recoveries import CLOSED_BY_HEARTBEAT

register = template.Library()

_UTC_TIME = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC\b")
_NAMED_ALERT = re.compile(r"Alert (\d+)\b")

# state -> (colour, icon, word)
_HEARTBEAT = {
    "healthy": ("ok", "ok", "Healthy"),
    "missed": ("bad", "bad", "Missed"),
    "waiting": ("wait", "wait", "Waiting"),
    "maintenance": ("warn", "tool", "In maintenance"),
    "disabled": ("idle", "off", "Disabled"),
    "faulty": ("warn", "bad", "Faulty"),
    "storm": ("bad", "bell", "Storm"),
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
_TRIED_AGAIN = ("warn", "wait", "Failed, tried again")
_STORED = ("warn long", "off", STORED)
_PRIORITY = {
    "critical": ("bad", "bad", "Critical"),
    "high": ("warn", "bad", "High"),
    "medium": ("wait", "wait", "Medium"),
    "low": ("idle", "off", "Low"),
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """Return a decorative icon, hidden from screen readers; use it beside words."""
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
    """Return an integration's state as a pill."""
    return _pill(_HEARTBEAT[state])


@register.simple_tag
def alert_pill(status: str) -> SafeString:
    """Return an alert's status as a pill."""
    return _pill(_ALERT[status])


@register.simple_tag
def notification_pill(notification: Notification) -> SafeString:
    """Return a notification's status as a pill."""
    if notification.was_stored:
        return _pill(_STORED)
    if notification.retried_at:
        return _pill(_TRIED_AGAIN)
    return _pill(_NOTIFICATION[notification.status])


@register.simple_tag
def method_pill(method: ContactMethod) -> SafeString:
    """Return a pill that says whether a contact method is in use, and if not, why."""
    if not method.verified_at:
        return _pill(("warn", "wait", "Not confirmed"))
    if method.failing_since:
        return _pill(("bad", "bad", "Does not work"))
    if not method.enabled:
        return _pill(("", "off", "Switched off"))
    if method.kind == ContactMethod.Kind.EMAIL and mail_is_stored():
        return _pill(_STORED)
    return _pill(("ok", "ok", "In use"))


@register.inclusion_tag("parts/tested.html")
def tested(method: ContactMethod, now: datetime) -> dict[str, Any]:
    """Show when a contact method was tested, and whether that message was only stored."""
    return {"method": method, "now": now, "stored": method.send_error == STORED}


@register.filter
def trouble(send_error: str) -> str:
    """Return the error of the last message to a contact method; not that it was stored, which its pill says."""
    return f"It could not be sent: {send_error}" if send_error and send_error != STORED else ""


@register.inclusion_tag("parts/held_strip.html", takes_context=True)
def held_strip(context: dict[str, Any]) -> dict[str, Any]:
    """Show that the installation is held since a restore, with a button for users who may release it."""
    user = getattr(context.get("request"), "user", None)
    restore = held_restore()
    return {"restore": restore, "may_release": restore is not None and may_release(user)}


@register.simple_tag
def priority_pill(priority: str) -> SafeString | str:
    """Return an alert's priority as a pill; nothing if it has none."""
    return _pill(_PRIORITY[priority]) if priority in _PRIORITY else ""


@register.simple_tag
def when(at: datetime | str | None, now: datetime, otherwise: str = "never") -> SafeString:
    """Return `3 minutes ago 14:02:11` in the reader's zone, with the full time in the tooltip."""
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
    """Return `in 5 minutes` or `5 minutes ago`."""
    away = at - now
    if abs(away) < timedelta(seconds=1):
        return "just now"
    words = durations.in_words(_rounded(abs(away)))
    return f"in {words}" if away > timedelta(0) else f"{words} ago"


def _rounded(duration: timedelta) -> timedelta:
    """Round down to minutes from five minutes on, and to hours from a day on: nobody reads the rest."""
    unit = timedelta(seconds=1)
    if duration >= timedelta(minutes=5):
        unit = timedelta(hours=1) if duration >= timedelta(days=1) else timedelta(minutes=1)
    return duration // unit * unit


def exact(local: datetime, now: datetime) -> str:
    """Return the time of day, with the date unless it is today."""
    if local.date() == now.date():
        return f"{local:%H:%M:%S}"
    if local.year == now.year:
        return f"{local.day} {local:%b %H:%M}"
    return f"{local:%Y-%m-%d %H:%M}"


@register.filter
def in_words(minutes: Decimal | float) -> str:
    """Return a number of minutes that somebody set in words."""
    return durations.exactly(durations.minutes(minutes))


@register.simple_tag
def ended(alert: Alert, now: datetime) -> SafeString:
    """Return how an alert ended, how long it lasted, and when it ended."""
    status, reason = alert.get_status_display(), alert.close_reason
    if reason == CLOSED_BY_HEARTBEAT:
        status, reason = "Closed by its heartbeat", ""
    assert alert.closed_at  # noqa: S101 - a check constraint of the table guarantees it
    duration = durations.in_words(_rounded(alert.closed_at - alert.opened_at))
    sentence = format_html("{} after {}, {}", status, duration, when(alert.closed_at, now))
    return format_html("{}: {}", sentence, reason) if reason else sentence


@register.filter
def role_names(user: User) -> str:
    """Return the names of a user's roles, Owner first."""
    names = [role.name for role in user.roles.all() if role.builtin != BuiltinRole.OWNER]
    if user.is_owner:
        names.insert(0, "Owner")
    return ", ".join(names)


@register.filter
def in_readers_zone(text: str) -> str:
    """Return a stored text with its UTC times converted to the reader's zone."""
    return _UTC_TIME.sub(_local, text)


def _local(match: re.Match[str]) -> str:
    try:
        at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return match[0]
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}"


@register.filter
def with_alert_link(text: str) -> SafeString | str:
    """Return a line of a heartbeat's log; if it begins with an alert, that is a link."""
    match = _NAMED_ALERT.match(text)
    if match is None:
        return text
    address = reverse("console:alert", args=[int(match[1])])
    return format_html('<a href="{}">{}</a>{}', address, match[0], text[match.end() :])


@register.filter
def windows(stored: list[dict[str, Any]]) -> str:
    """Return the weekly windows of a contact method in words."""
    return weekly.in_words(stored)


@register.filter
def item(mapping: dict[Any, Any], key: Any) -> Any:
    """Return the value of a key that is a template variable."""
    return mapping.get(key)
