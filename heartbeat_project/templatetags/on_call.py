"""Template tags with escalation's knowledge for pages of the accounts app, which may not import it."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import dateformat, timezone

from accounts.admin.base import instant, person
from accounts.entitlements import Entitlement
from accounts.models.groups import Group
from accounts.permissions import may
from accounts.selectors import nested_groups
from escalation.oncall.selectors import on_call_status_of, unreadable_calendars

register = template.Library()


@register.filter
def day_and_time(at: datetime, now: datetime) -> str:
    """Return a day and time in the reader's zone, with the year if it differs from the current one."""
    local = timezone.localtime(at)
    year = "" if local.year == timezone.localtime(now).year else " Y"
    return dateformat.format(local, f"D j M{year}, H:i")


@register.inclusion_tag("parts/group_on_call.html", takes_context=True)
def group_on_call(context: dict[str, Any], group: Group) -> dict[str, Any]:
    """Show which members of a group are on call now, and the gaps of the next 14 days."""
    request = context["request"]
    now = instant(request)
    return {
        "group": group,
        "now": now,
        "status": on_call_status_of(group, at=now),
        "unreadable": unreadable_calendars(nested_groups([group.pk])[group.pk]),
        "may_change": may(person(request), Entitlement.GROUPS_UPDATE_ALL),
    }


@register.inclusion_tag("parts/group_shares.html")
def group_shares(group: Group) -> dict[str, Any]:
    """Show the contact methods that a group shares, with a link to change them."""
    return {"group": group, "contacts": group.contact_methods.all()}
