"""Once a day Owners and App Admins get a list of heartbeats that are silent though their alerts were ended by hand."""

import zoneinfo
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import OuterRef, Subquery

from accounts.models import Organization, User
from alerting.models import Alert, TimelineEntry
from alerting.states import FINAL
from escalation.models import Notification
from escalation.services.last_resort import email_to, official_addresses
from escalation.services.people import stewards
from escalation.wording import moment, one_line, zone
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import array, statement
from integrations.models import DailyList, Heartbeat

AT: Final = time(8)
LISTED: Final = 100
_INTRODUCTION: Final = (
    "No ping has come since, but the alert was closed or cancelled by hand: there is no further alert before the next "
    "ping. Mend the job, or disable its heartbeat."
)


@dataclass(frozen=True, slots=True)
class _Ended:
    """An alert that was ended by hand while its heartbeat is silent: what the timeline says of it, and when."""

    alert: Alert
    said: str
    at: datetime


def send_daily_lists(*, now: datetime) -> int:
    """Mail the day's list where it is past eight in the organization's zone; return how many mails were written.

    Each day once, however many workers do this: the row of the day and its mails are one transaction. Nothing is
    mailed where nothing is to be listed.
    """
    due = _due(now=now)
    if not due:
        return 0
    with transaction.atomic():
        with connection.cursor() as cursor:
            days: dict[str, Any] = {"organizations": array(due), "days": list(due.values())}
            cursor.execute(statement("integrations", "claim_daily_lists"), days)
            claimed = [organization_id for (organization_id,) in cursor.fetchall()]
        found = closed_but_silent(claimed)
        rows = _mails(found, now=now)
        Notification.objects.bulk_create(rows)
    if rows:
        ring("escalation.deliver_due", queue="delivery")
    return len(rows)


def closed_but_silent(organization_ids: Collection[int]) -> dict[int, list[Alert]]:
    """Return by organization the alerts that are over while the silence that opened them lasts, the oldest first.

    Only people can have ended them: a ping would have ended the silence, too.
    """
    newest = Alert.objects.filter(integration_id=OuterRef("pk"), source="Heartbeat").order_by("-id").values("id")
    missed = Heartbeat.objects.filter(
        integration__organization_id__in=organization_ids, state=Heartbeat.State.MISSED
    ).annotate(newest=Subquery(newest[:1]))
    ids = [alert_id for alert_id in missed.values_list("newest", flat=True) if alert_id is not None]
    found: defaultdict[int, list[Alert]] = defaultdict(list)
    for alert in Alert.objects.filter(pk__in=ids, status__in=sorted(FINAL)).order_by("expected_at", "id"):
        found[alert.organization_id].append(alert)
    return found


def _due(*, now: datetime) -> dict[int, date]:
    """Return the organizations that had no list on this day of theirs, though it is late enough, with the day."""
    done = dict(DailyList.objects.values_list("organization_id", "day"))
    due = {}
    for organization_id, time_zone in Organization.objects.order_by("id").values_list("id", "time_zone"):
        local = now.astimezone(zoneinfo.ZoneInfo(time_zone))
        if local.time() >= AT and done.get(organization_id, date.min) < local.date():
            due[organization_id] = local.date()
    return due


def _mails(found: Mapping[int, Sequence[Alert]], *, now: datetime) -> list[Notification]:
    listed = {alert.pk for alerts in found.values() for alert in alerts[:LISTED]}
    ends = TimelineEntry.objects.filter(alert__in=listed, kind__in=["closed", "cancelled"]).order_by("alert_id", "-id")
    end_of = {entry.alert_id: entry for entry in ends.distinct("alert_id")}
    people = stewards(found)
    addresses = official_addresses(user for users in people.values() for user in users)
    rows = []
    for organization_id, alerts in found.items():
        ended = [
            _Ended(alert, end_of[alert.pk].text, end_of[alert.pk].at) for alert in alerts[:LISTED] if alert.pk in end_of
        ]
        for user in people[organization_id]:
            if (method := addresses.get(user.pk)) is None:
                continue
            row = email_to(method, kind=Notification.Kind.NOTICE, organization_id=organization_id, now=now)
            many = f"{len(alerts)} heartbeats are" if len(alerts) > 1 else f"{one_line(alerts[0].source_name)} is"
            row.subject = f"{many} silent, and nobody is notified"[:300]
            row.text = _text(ended, more=len(alerts) - len(ended), reader=user)
            rows.append(row)
    return rows


def _text(ended: Sequence[_Ended], *, more: int, reader: User) -> str:
    local = zone(reader.time_zone)
    lines = [_INTRODUCTION, ""]
    for number, each in enumerate(ended, start=1):
        since = f", silent since {moment(each.alert.expected_at, zone=local)}" if each.alert.expected_at else ""
        ended_at = moment(each.at, zone=local)
        lines += [
            f"{number}. {one_line(each.alert.source_name)}{since}. {one_line(each.said)} {ended_at}.",
            f"   {settings.BASE_URL}/heartbeats/{each.alert.integration_id}/",
        ]
    return "\n".join([*lines, *([f"… and {more} more."] if more else [])])
