"""The contact methods for recovery notices: a person gets one over the method that disturbs least, never as a call."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from accounts.contact_kinds import CONTACT_KINDS
from accounts.models.contact_methods import EMAIL_OFFICIAL, ContactMethod, Priority
from accounts.windows import is_open
from escalation.models.notifications import Notification

_Status = Notification.Status
# The quietest first.
LOUDNESS: Final = {kind.code: kind.recovery_rank for kind in CONTACT_KINDS.values() if kind.recovery_rank is not None}


def recovery_methods(alert_ids: Sequence[int], *, now: datetime) -> list[dict[str, Any]]:
    """Return the candidates for recovery notices to the people who were notified of these alerts, for write_recoveries.

    People who have left, or want no recovery notices, have none. `own` says that the person uses the method now, by
    their own choice, for alerts of the rank `least` and above; `works` that its address is not refused; `official` that
    it is the address of the account, the last choice.
    """
    notified = Notification.objects.filter(
        alert__in=alert_ids, status__in=[_Status.SENDING, _Status.ACCEPTED, _Status.DELIVERED]
    )
    methods = ContactMethod.objects.filter(
        user__in=notified.values("user"),
        user__is_active=True,
        user__recovery_notices=True,
        verified_at__isnull=False,
        kind__in=LOUDNESS,
    )
    return [
        {
            "user_id": method.user_id,
            "id": method.pk,
            "channel": method.kind,
            "label": method.label,
            "address": method.address,
            "loudness": LOUDNESS[method.kind],
            "position": position,
            "own": method.enabled and is_open(method.windows, at=now, time_zone=method.holder.time_zone),
            "least": Priority.values.index(method.from_priority),
            "works": method.failing_since is None,
            "official": method.label == EMAIL_OFFICIAL,
        }
        for position, method in enumerate(methods.select_related("user").order_by("user_id", "position", "id"))
    ]
