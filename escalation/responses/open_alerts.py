"""Queries for alerts that nobody has taken: those that a user was notified of, and those of one message."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.selectors import respondable_alerts
from alerting.states import Action, Status
from escalation.models import channel_actions
from escalation.models.notifications import ASKING, Notification

MAX_TAKEN: Final = 20_000  # alerts that one person takes at once


@dataclass(frozen=True, slots=True)
class OpenToReader:
    """Open alerts that the reader of a message may act on: those of the message, and others they were notified of."""

    own: QuerySet[Alert]
    others: QuerySet[Alert]


def open_alerts_notified_to(
    user: User, *, action: Action = Action.ASSIGN, over: str = "", before: datetime | None = None, tests: bool = False
) -> QuerySet[Alert]:
    """Return the alerts that nobody has taken, that the user was notified of and may act on.

    `over` is a channel (ContactMethod.kind): alerts whose policy disables the action there are left out. `before`
    counts only messages that were accepted for sending by then. `tests` returns test alerts instead of real ones.
    """
    pages = Notification.objects.filter(
        alert=OuterRef("pk"), user=user, kind__in=ASKING, accepted_at__isnull=False
    ).order_by()
    if before is not None:
        pages = pages.filter(accepted_at__lte=before)
    return open_alerts_of(user, action=action, over=over).filter(Exists(pages), is_test=tests)


def open_alerts_of(user: User, *, action: Action = Action.ASSIGN, over: str = "") -> QuerySet[Alert]:
    """Return the alerts that nobody has taken and that the user may act on, whether or not they were notified of them.

    An alert is taken if it is assigned, on hold, or acknowledged by another user and its policy stops on that.
    """
    stopped = Q(acknowledged_at__isnull=False, run__acknowledge_stops=True) & ~Q(acknowledged_by=user)
    alerts = respondable_alerts(user).filter(status=Status.OPEN, owner=None).exclude(stopped)
    return alerts.exclude(run__disabled_actions__contains=[channel_actions.pair(over, action)]) if over else alerts


def open_to_reader(
    user: User, alert_ids: Collection[int] | QuerySet[Any], *, over: str = "", before: datetime | None = None
) -> OpenToReader:
    """Return the alerts that the reader of a message about these alerts may take; `over` and `before` as above.

    For a message about thousands of alerts pass a query as `alert_ids`: it becomes a subquery. A message about test
    alerts alone offers no real alert, so that somebody who tries the product does not take one by mistake.
    """
    own = open_alerts_of(user, over=over).filter(pk__in=alert_ids)
    others = open_alerts_notified_to(user, over=over, before=before).exclude(pk__in=alert_ids)
    if not Alert.objects.filter(pk__in=alert_ids, is_test=False).exists():
        others = others.none()
    return OpenToReader(own, others)
