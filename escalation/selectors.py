"""Questions about what people were told: by the message that carried it, or by the number it went to."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet

from accounts.models import ContactMethod
from escalation.models import Notification
from escalation.shift_models import Shift

# What asks its reader to do something; recoveries and notices only tell.
TO_OWNER = (Notification.Kind.ASSIGNMENT, Notification.Kind.REMINDER)
ASKING = (Notification.Kind.PAGE, Notification.Kind.LAST_RESORT, *TO_OWNER)


def told_in(message_id: UUID) -> QuerySet[Notification]:
    """Return what a message told its reader about alerts: one row for each alert, with all that an answer needs.

    What a group shares has no reader whom an answer could be from.
    """
    told = Notification.objects.filter(Q(envelope=message_id) | Q(pk=message_id), alert__isnull=False)
    told = told.filter(user__isnull=False)
    return told.filter(kind__in=ASKING).select_related("alert", "run", "user", "contact_method").order_by("alert_id")


def told_over(channel: str, address: str, *, now: datetime) -> QuerySet[Notification]:
    """Return what whoever has this address was told over a channel and may still answer, the newest first."""
    methods = ContactMethod.objects.filter(kind=channel, address=address, verified_at__isnull=False)
    told = Notification.objects.filter(
        contact_method__in=methods,
        address=address,
        channel=channel,
        kind__in=ASKING,
        alert__isnull=False,
        user__isnull=False,
        accepted_at__isnull=False,
        created_at__gt=now - timedelta(days=settings.RESPOND_DAYS),
    )
    return told.select_related("alert", "run", "user", "contact_method").order_by("-created_at", "-alert_id")


def expires_at(told: Notification) -> datetime:
    """Return when what was told can no longer be answered without signing in."""
    return told.created_at + timedelta(days=settings.RESPOND_DAYS)


def unreadable_calendars(group_ids: Iterable[int]) -> QuerySet[Shift]:
    """Return the shifts of these groups whose calendar cannot be read, with their groups."""
    failing = Shift.objects.filter(group__in=list(group_ids), calendar_failing_since__isnull=False)
    return failing.select_related("group").order_by("group__name", "name", "id")
