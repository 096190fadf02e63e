"""Who is on call, and what a group shares, for pages that lie below the app which knows it."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import dateformat, timezone

from accounts.admin.base import instant, person
from accounts.entitlements import Entitlement
from accounts.models import Group
from accounts.permissions import may
from accounts.selectors import nested_groups
from escalation.on_call import standing_of
from escalation.selectors import unreadable_calendars

register = template.Library()


@register.filter
def day_and_time(at: datetime, now: datetime) -> str:
    """Return a day and time in the reader's zone, with the year where it is another than now's."""
    local = timezone.localtime(at)
    year = "" if local.year == timezone.localtime(now).year else " Y"
    return dateformat.format(local, f"D j M{year}, H:i")


@register.inclusion_tag("parts/group_on_call.html", takes_context=True)
def group_on_call(context: dict[str, Any], group: Group) -> dict[str, Any]:
    """Show who of a group is on call now, and the gaps of the next 14 days."""
    request = context["request"]
    now = instant(request)
    return {
        "group": group,
        "now": now,
        "standing": standing_of(group, at=now),
        "unreadable": unreadable_calendars(nested_groups([group.pk])[group.pk]),
        "may_change": may(person(request), Entitlement.GROUPS_UPDATE_ALL),
    }


@register.inclusion_tag("parts/group_shares.html")
def group_shares(group: Group) -> dict[str, Any]:
    """Show what a group shares, and lead to where it is changed."""
    return {"group": group, "contacts": group.contact_methods.all()}
