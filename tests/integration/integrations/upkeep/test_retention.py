"""What is past its retention goes, and nothing else."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.db import connection

from alerting.models.alerts import Alert, AlertMember, AlertRecipient, TimelineEntry
from escalation.models.notifications import Notification
from escalation.models.responses import Response
from escalation.models.runs import EscalationRun
from escalation.models.sending import StoredMail
from heartbeat_project.kernel.sql import statement
from integrations.models.events import EventKey, InboundEvent
from integrations.models.heartbeats import HeartbeatEvent
from integrations.models.integrations import FormerToken
from integrations.models.outages import Outage
from integrations.upkeep import retention
from integrations.upkeep.retention import delete_what_is_old
from tests.conftest import NOON
from tests.world import minutes

pytestmark = pytest.mark.django_db


def days(number):
    return timedelta(days=number)


def test_an_alert_goes_400_days_after_its_end_with_all_that_is_about_it(world):
    ana = world.person("ana")
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(6))
    first = Alert.objects.get()
    Response.objects.create(
        alert=first, user=ana, action="acknowledge", via="page", reference="x", answer_text="Yes.", at=NOON
    )
    world.ping(backup)
    world.advance(minutes(1))
    ended_at = Alert.objects.get().closed_at
    world.advance(minutes(6))
    assert Alert.objects.count() == 2

    delete_what_is_old(now=ended_at + days(400))
    assert Alert.objects.count() == 2
    delete_what_is_old(now=ended_at + days(400) + minutes(1))

    kept = Alert.objects.get()
    assert kept.status == "open", "what is not over stays, however old it is"
    for model in (TimelineEntry, Notification, EscalationRun, AlertRecipient):
        assert set(model.objects.values_list("alert_id", flat=True)) == {kept.pk}, model
    assert not Response.objects.exists()


def test_members_events_and_keys_of_an_api_integration_go_when_they_are_old(world):
    shop = world.api("Shop", recipients=["ana"], group_minutes=10)
    for key in ("db1", "db2"):
        world.post(shop, {"alertKey": key, "status": "firing", "title": key, "timestamp": world.now.isoformat()})
    closed_at = world.now.isoformat()
    settings_of_shop = shop.event_settings
    settings_of_shop.mapping = {"event_at": "{{ payload.timestamp }}"}
    settings_of_shop.save()
    for key in ("db1", "db2"):
        world.post(shop, {"alertKey": key, "status": "resolved", "title": key, "timestamp": closed_at})
    assert (AlertMember.objects.count(), InboundEvent.objects.count(), EventKey.objects.count()) == (2, 4, 2)

    delete_what_is_old(now=world.now + days(29))
    assert (AlertMember.objects.count(), InboundEvent.objects.count(), EventKey.objects.count()) == (2, 4, 2)
    delete_what_is_old(now=world.now + days(31))
    assert (AlertMember.objects.count(), InboundEvent.objects.count(), EventKey.objects.count()) == (2, 0, 0)
    delete_what_is_old(now=world.now + days(401))
    assert not AlertMember.objects.exists()


def test_old_alerts_go_in_batches_until_none_is_left(world, monkeypatch):
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    for _ in range(5):
        world.advance(minutes(6))
        world.ping(backup)
        world.advance(minutes(1))

    delete_what_is_old(now=world.now + days(401))

    assert not Alert.objects.exists()
    assert not TimelineEntry.objects.exists()


def test_notices_mail_logs_outages_and_sessions_go_when_they_are_old(world, settings):
    settings.ALERT_RETENTION_DAYS = 30
    ana = world.person("ana")
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    HeartbeatEvent.objects.all().delete()
    for at in (NOON, NOON + days(30)):
        Notification.objects.create(
            id=uuid4(),
            organization=world.organization,
            kind="notice",
            user=ana,
            channel="email",
            label="",
            address="a@example.com",
            step=0,
            status="accepted",
            created_at=at,
            urgency=0,
            priority_rank=4,
        )
        StoredMail.objects.create(at=at, sender="h", recipients="a", subject="s", text="t")
        HeartbeatEvent.objects.create(integration=backup, at=at, kind="changed")
        Outage.objects.create(started_at=at - minutes(1), ended_at=at, done_at=at)
        FormerToken.objects.create(token=f"former {at:%d}", integration=backup, ends_at=at + minutes(2))
        Session.objects.create(session_key=f"s{at:%d}", session_data="", expire_date=at)

    delete_what_is_old(now=NOON + days(30) + minutes(1))

    assert not Session.objects.filter(expire_date__lte=NOON).exists()
    for rows in (
        Notification.objects.filter(kind="notice"),
        StoredMail.objects.all(),
        HeartbeatEvent.objects.all(),
        Outage.objects.all(),
        FormerToken.objects.all(),
    ):
        assert rows.count() == 1, rows.model
    delete_what_is_old(now=NOON + days(30) + minutes(1))
    assert StoredMail.objects.count() == 1


def test_old_alerts_are_found_by_their_end(db):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the table is empty here
        cursor.execute(
            f"EXPLAIN (COSTS OFF) {statement('escalation', 'delete_old_alerts')}", {"before": NOON, "limit": 10}
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    for index in (
        "alert_by_end",
        "timeline_by_alert",
        "recipient_once",
        "member_once",
        "response_once",
        "notification_once",
    ):
        assert index in plan, plan
