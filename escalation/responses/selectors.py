"""Queries for notifications that people respond to: by message, by phone number, by alert."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import Case, F, IntegerField, Max, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce

from accounts.models.contact_methods import ContactMethod, Priority
from alerting.models.alerts import Alert
from escalation.models.notifications import ASKING, BY_ESCALATION, Notification


def notifications_in(message_id: UUID) -> QuerySet[Notification]:
    """Return the notifications of a message that can be answered, one for each alert, with the rows an answer needs.

    Messages to the shared contacts of a group are left out, since they have no user who could answer.
    """
    rows = Notification.objects.filter(Q(message_id=message_id) | Q(pk=message_id), alert__isnull=False)
    rows = rows.filter(user__isnull=False)
    return rows.filter(kind__in=ASKING).select_related("alert", "run", "user", "contact_method").order_by("alert_id")


def sent_to_number(number: str, *, now: datetime) -> QuerySet[Notification]:
    """Return the SMS notifications of alerts that (possibly) went to a phone and can still be answered, latest first.

    Recoveries are included: they ask nothing, but may be what the reader saw last. `went_at` is when each was accepted,
    or, while it is being sent, when the attempt began.
    """
    methods = ContactMethod.objects.filter(kind=ContactMethod.Kind.SMS, address=number, verified_at__isnull=False)
    since = now - timedelta(days=settings.RESPOND_DAYS)
    sent = Notification.objects.annotate(went_at=Coalesce("accepted_at", "possibly_sent_at")).filter(
        contact_method__in=methods,
        address=number,
        channel=ContactMethod.Kind.SMS,
        kind__in=(*ASKING, Notification.Kind.RECOVERY),
        alert__isnull=False,
        user__isnull=False,
        went_at__gt=since,
        created_at__gt=since,
    )
    related = ("alert__owner", "alert__bridge", "run", "user", "contact_method")
    # The last keys make the order definite: if two people share a phone, the answer always counts for the same one.
    return sent.select_related(*related).order_by("-went_at", "-created_at", "-user", "-alert")


def last_notified_at(alert_id: int, user_id: int) -> datetime | None:
    """Return when the escalation last created a notification of the alert for this user; None if it never did."""
    pages = Notification.objects.filter(alert=alert_id, user=user_id, kind__in=BY_ESCALATION)
    at: datetime | None = pages.aggregate(at=Max("created_at"))["at"]
    return at


def expires_at(notification: Notification) -> datetime:
    """Return until when a message can be answered without signing in."""
    return notification.created_at + timedelta(days=settings.RESPOND_DAYS)


# Alerts that a bundle lists; it counts the others.
LISTED: Final = 200


def alerts_in(message_id: UUID) -> QuerySet[Alert]:
    """Return the alerts of one message, the most urgent first."""
    return alerts_of(Notification.objects.filter(message_id=message_id))


def most_urgent_first(alerts: QuerySet[Alert]) -> QuerySet[Alert]:
    """Order alerts by priority, then by how long they are overdue, longest first."""
    ranks = [When(priority=priority, then=Value(rank)) for rank, priority in enumerate(Priority.values)]
    return alerts.order_by(Case(*ranks, output_field=IntegerField()), F("expected_at").asc(nulls_last=True), "pk")


def alerts_of(rows: QuerySet[Notification]) -> QuerySet[Alert]:
    """Return the alerts of these notifications, the most urgent first."""
    return most_urgent_first(Alert.objects.filter(pk__in=rows.values("alert")))
