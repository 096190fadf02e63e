"""Inbound events by day: partitions are made ahead, dropped when they are old, and no event needs one."""

from datetime import UTC, timedelta

import pytest
from django.db import connection

from integrations.inbound.days import DAYS_AHEAD, keep_days, partition_of
from integrations.models.events import InboundEvent

pytestmark = pytest.mark.django_db


def partitions():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'integrations_inboundevent'::regclass"
        )
        return {name for (name,) in cursor.fetchall()}


def day(now, number=0):
    return (now + timedelta(days=number)).astimezone(UTC).date()


def test_days_are_made_ahead_once_and_dropped_after_thirty_days(now):
    keep_days(now=now)
    ahead = {partition_of(day(now, number)) for number in range(DAYS_AHEAD + 1)}
    assert ahead <= partitions()
    keep_days(now=now + timedelta(days=30))
    assert partition_of(day(now)) in partitions()
    keep_days(now=now + timedelta(days=31))
    assert partition_of(day(now)) not in partitions()
    assert partition_of(day(now, 1)) in partitions()


def test_an_event_goes_to_its_day_and_one_without_a_day_is_stored_all_the_same(now, world):
    keep_days(now=now)
    shop = world.api("Shop", recipients=["ana"])
    world.now = now
    world.post(shop, {"title": "x"})
    world.now = now + timedelta(days=100)
    world.post(shop, {"title": "x"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM integrations_inboundevent ORDER BY id")
        assert [name for (name,) in cursor.fetchall()] == [partition_of(day(now)), "integrations_inboundevent_other"]


def test_a_day_whose_events_are_in_the_default_partition_gets_none_and_holds_up_no_other(now, world, caplog):
    shop = world.api("Shop", recipients=["ana"])
    world.now = now + timedelta(days=2)
    world.post(shop, {"title": "x"})
    keep_days(now=now)
    made = partitions()
    assert partition_of(day(now, 2)) not in made
    assert {partition_of(day(now, number)) for number in (0, 1, 3, DAYS_AHEAD)} <= made
    assert "will be tried again" in caplog.text
    assert InboundEvent.objects.count() == 1
