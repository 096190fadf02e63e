"""Template tags of the frame around all pages: the count on the mark, the theme, and what is wrong with us."""

from typing import Any, Final

from django import template
from django.http import HttpRequest
from django.utils.safestring import SafeString, mark_safe

from accounts.models.users import User
from heartbeat_project.console.own_troubles import troubles_for
from heartbeat_project.console.selectors import MAX_COUNTED, OPEN_COUNT, open_alert_count
from heartbeat_project.kernel import clock
from integrations.heartbeats.selectors import may_see_integrations

register = template.Library()

THEMES: Final = (("system", "System"), ("light", "Light"), ("dark", "Dark"))
THEME_COOKIE: Final = "heartbeat_theme"
ZONE_COOKIE: Final = "heartbeat_zone_asked"
# The zone that accounts get when nobody chose one.
_FIRST_ZONE: Final = "UTC"


def chosen_theme(request: HttpRequest | None) -> str:
    """Return the theme that this browser was set to: system, light or dark."""
    theme = request.COOKIES.get(THEME_COOKIE, "") if request is not None else ""
    return theme if theme in dict(THEMES) else THEMES[0][0]


def _user(context: Any) -> User | None:
    user = getattr(context.get("request"), "user", None)
    return user if isinstance(user, User) else None


@register.simple_tag(takes_context=True)
def theme_attribute(context: Any) -> SafeString:
    """Return the attribute by which Django's own style sheets know a chosen theme; nothing for that of the system."""
    theme = chosen_theme(context.get("request"))
    return mark_safe("" if theme == THEMES[0][0] else f' data-theme="{theme}"')  # noqa: S308 - one of THEMES


@register.inclusion_tag("parts/styles.html", takes_context=True)
def styles(context: Any) -> dict[str, Any]:
    """Link the icon and the colours of the reader's theme."""
    return {"theme": chosen_theme(context.get("request"))}


@register.simple_tag(takes_context=True)
def open_alerts(context: Any) -> int | None:
    """Return how many open alerts the user may see; None if they may see none at all. Asked once for a page."""
    user, request = _user(context), context.get("request")
    if user is None:
        return None
    if not hasattr(request, OPEN_COUNT):
        setattr(request, OPEN_COUNT, open_alert_count(user))
    count: int | None = getattr(request, OPEN_COUNT)
    return count


@register.filter
def capped(count: int) -> str:
    """Return a count that was not counted to its end."""
    return f"{MAX_COUNTED}+" if count > MAX_COUNTED else str(count)


@register.inclusion_tag("parts/frame.html", takes_context=True)
def frame(context: Any) -> dict[str, Any]:
    """Show the bar on top."""
    return _frame_context(context)


@register.inclusion_tag("parts/frame_end.html", takes_context=True)
def frame_end(context: Any) -> dict[str, Any]:
    """Show the bar at the bottom of phones, and hold the help for the keyboard."""
    return _frame_context(context)


def _frame_context(context: Any) -> dict[str, Any]:
    user = _user(context)
    names = ("request", "user", "perms", "nav_item", "available_apps", "csrf_token")
    return {name: context.get(name) for name in names} | {
        "sees_heartbeats": user is not None and may_see_integrations(user),
        "themes": THEMES,
        "theme": chosen_theme(context.get("request")),
    }


@register.inclusion_tag("parts/troubles.html", takes_context=True)
def troubles(context: Any) -> dict[str, Any]:
    """Show what is wrong with this installation, each with what can be done; nothing if all is well."""
    user, request = _user(context), context.get("request")
    if user is None:
        return {"troubles": [], "zone": ""}
    is_asked = user.time_zone == _FIRST_ZONE and ZONE_COOKIE not in request.COOKIES
    return {
        "troubles": troubles_for(user, now=clock.now()),
        "zone": user.time_zone if is_asked else "",
        "request": request,
        "csrf_token": context.get("csrf_token"),
    }
