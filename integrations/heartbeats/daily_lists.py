"""A daily mail to Owners and App Admins: heartbeats that are silent, though people closed or cancelled their alerts."""

import zoneinfo
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import chain
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import OuterRef, Subquery

from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.selectors import fallback_recipients
from accounts.services.restores import unless_held
from alerting.models.alerts import Alert, TimelineEntry
from alerting.states import FINAL
from escalation.engine.notices import email_to, official_addresses
from escalation.models.notifications import Notification
from heartbeat_project.kernel.sql import array, statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import moment, one_line, zone
from integrations.models.heartbeats import Heartbeat
from integrations.models.mails import DailyList

AT: Final = time(8)  # in the organization's time zone
LISTED: Final = 100  # heartbeats in one mail
_INTRODUCTION: Final = (
    "No ping has come since, but the alert was closed or cancelled by hand: nobody is notified again before the next "
    "ping. Repair the job, or disable its heartbeat."
)


@dataclass(frozen=True, slots=True)
class _Ended:
    """An alert that a person ended while its heartbeat is silent, with the text and time of its timeline entry."""

    alert: Alert
    text: str
    at: datetime


@unless_held(0)
def send_daily_lists(*, now: datetime) -> int:
    """Mail today's list of each organization in whose zone it is past eight; return how many mails were written.

    Each day has one list, however many workers do this: the row of the day and its mails are one transaction. An empty
    list is not mailed.
    """
    due = _due(now=now)
    if not due:
        return 0
    with transaction.atomic():
        with connection.cursor() as cursor:
            days: dict[str, Any] = {"organizations": array(due), "days": list(due.values())}
            cursor.execute(statement("integrations", "claim_daily_lists"), days)
            claimed = [organization_id for (organization_id,) in cursor.fetchall()]
        ended = closed_but_silent(claimed)
        rows = _mails(ended, now=now)
        Notification.objects.bulk_create(rows)
    if rows:
        wake_on_commit("escalation.deliver_due", queue="delivery")
    return len(rows)


def closed_but_silent(organization_ids: Collection[int]) -> dict[int, list[Alert]]:
    """Return by organization the alerts that are over while the silence that opened them lasts, the oldest first.

    Only people can have ended these: a ping would have ended the silence, too.
    """
    newest = (
        Alert.objects.filter(integration_id=OuterRef("pk"), integration_type="heartbeat").order_by("-id").values("id")
    )
    missed = Heartbeat.objects.filter(
        integration__organization_id__in=organization_ids, state=Heartbeat.State.MISSED
    ).annotate(newest=Subquery(newest[:1]))
    ids = [alert_id for alert_id in missed.values_list("newest", flat=True) if alert_id is not None]
    alerts_by_organization: defaultdict[int, list[Alert]] = defaultdict(list)
    for alert in Alert.objects.filter(pk__in=ids, status__in=sorted(FINAL)).order_by("expected_at", "id"):
        alerts_by_organization[alert.organization_id].append(alert)
    return alerts_by_organization


def _due(*, now: datetime) -> dict[int, date]:
    """Return by organization the present day in its zone, if it is past eight there and that day had no list yet."""
    done = dict(DailyList.objects.values_list("organization_id", "day"))
    due = {}
    for organization_id, time_zone in Organization.objects.order_by("id").values_list("id", "time_zone"):
        local = now.astimezone(zoneinfo.ZoneInfo(time_zone))
        if local.time() >= AT and done.get(organization_id, date.min) < local.date():
            due[organization_id] = local.date()
    return due


def _mails(alerts_by_organization: Mapping[int, Sequence[Alert]], *, now: datetime) -> list[Notification]:
    listed: set[int] = set()
    for alerts in alerts_by_organization.values():
        listed.update(alert.pk for alert in alerts[:LISTED])
    ends = TimelineEntry.objects.filter(alert__in=listed, kind__in=["closed", "cancelled"]).order_by("alert_id", "-id")
    end_of = {entry.alert_id: entry for entry in ends.distinct("alert_id")}
    readers = fallback_recipients(alerts_by_organization)
    addresses = official_addresses(chain.from_iterable(readers.values()))
    mails = []
    for organization_id, alerts in alerts_by_organization.items():
        ended = [
            _Ended(alert, end_of[alert.pk].text, end_of[alert.pk].at) for alert in alerts[:LISTED] if alert.pk in end_of
        ]
        subject = f"{len(alerts)} heartbeats are" if len(alerts) > 1 else f"{one_line(alerts[0].source_name)} is"
        for user in readers[organization_id]:
            if (method := addresses.get(user.pk)) is None:
                continue
            mail = email_to(method, kind=Notification.Kind.NOTICE, organization_id=organization_id, now=now)
            mail.subject = f"{subject} silent, and nobody is notified"[:300]
            mail.text = _text(ended, more=len(alerts) - len(ended), reader=user)
            mails.append(mail)
    return mails


def _text(ended: Sequence[_Ended], *, more: int, reader: User) -> str:
    local = zone(reader.time_zone)
    lines = [_INTRODUCTION, ""]
    for number, entry in enumerate(ended, start=1):
        since = f", silent since {moment(entry.alert.expected_at, zone=local)}" if entry.alert.expected_at else ""
        ended_at = moment(entry.at, zone=local)
        lines += [
            f"{number}. {one_line(entry.alert.source_name)}{since}. {one_line(entry.text).rstrip('.')} ({ended_at}).",
            f"   {settings.BASE_URL}/heartbeats/{entry.alert.integration_id}/",
        ]
    if more:
        lines.append(f"… and {more} more.")
    return "\n".join(lines)
