"""When a walk reaches nobody, the organization's Owner and App Admins are told instead, with the reason."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

from accounts.models import EMAIL_OFFICIAL, ContactMethod, User
from alerting.models import TimelineEntry
from escalation.models import EscalationRun, Notification
from escalation.services.people import stewards
from heartbeat_project.kernel.doorbell import ring

log = logging.getLogger(__name__)


def tell_stewards(reasons: Mapping[EscalationRun, str], *, now: datetime) -> None:
    """Write the last-resort e-mails for these runs, whose rows the caller holds, once for each run ever.

    What was put away unsent, because somebody took the alert in between, is sent now.
    """
    again = [run.pk for run in reasons if run.last_resort_at is not None]
    put_away = Notification.objects.filter(
        alert__run__in=again, kind=Notification.Kind.LAST_RESORT, status=Notification.Status.SUPERSEDED
    )
    if again and put_away.update(status=Notification.Status.PENDING, next_attempt_at=now):
        ring("escalation.deliver_due", queue="delivery")
    fresh = {run: reason for run, reason in reasons.items() if run.last_resort_at is None}
    if not fresh:
        return
    EscalationRun.objects.filter(pk__in=[run.pk for run in fresh]).update(last_resort_at=now)
    people = stewards(run.alert.organization_id for run in fresh)
    addresses = official_addresses(user for users in people.values() for user in users)
    rows, lines = [], []
    for run, reason in fresh.items():
        run.last_resort_at = now
        told = [addresses[user.pk] for user in people[run.alert.organization_id] if user.pk in addresses]
        for method in told:
            kind = Notification.Kind.LAST_RESORT
            row = email_to(method, kind=kind, organization_id=run.alert.organization_id, now=now)
            row.alert, row.run, row.step, row.text = run.alert, run, run.step, reason
            rows.append(row)
        if told:
            said = f"{reason} Telling {', '.join(str(method.user) for method in told)} by e-mail instead."
        else:
            said = f"{reason} There is no active Owner or App Admin to tell instead."
            log.error("alert %s reaches nobody at all: %s", run.alert_id, said)
        lines.append(
            TimelineEntry(alert_id=run.alert_id, at=now, kind=TimelineEntry.Kind.LAST_RESORT, text=said),
        )
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    TimelineEntry.objects.bulk_create(lines)
    ring("escalation.deliver_due", queue="delivery")


def official_addresses(users: Iterable[User]) -> dict[int, ContactMethod]:
    """Return the Email-Official contact method of each user, which everybody has."""
    methods = ContactMethod.objects.select_related("user").filter(user__in=list(users), label=EMAIL_OFFICIAL)
    return {method.user_id or 0: method for method in methods}


def email_to(method: ContactMethod, *, kind: Notification.Kind, organization_id: int, now: datetime) -> Notification:
    """Return an unsaved last resort or notice over this contact method, due now."""
    urgency = Notification.Urgency.FIRST if kind == Notification.Kind.LAST_RESORT else Notification.Urgency.NEWS
    return Notification(
        organization_id=organization_id,
        kind=kind,
        urgency=urgency,
        user_id=method.user_id,
        contact_method=method,
        channel=method.kind,
        label=method.label,
        address=method.address,
        created_at=now,
        next_attempt_at=now,
    )
