"""An upgrade knows nothing of the past but the state in which each heartbeat is."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.db import connection

from integrations.availability.periods import histories
from integrations.heartbeats.edits import update_heartbeat
from integrations.models.periods import StatePeriod
from tests.world import World, minutes

pytestmark = pytest.mark.django_db
FILL = import_module("integrations.migrations.0018_periods_before").FILL


def test_the_time_before_the_upgrade_is_no_data_and_a_silence_goes_on(world: World):
    healthy, silent, waiting, disabled = (
        world.heartbeat(name, every=minutes(5), recipients=["ana"]) for name in ("healthy", "silent", "waiting", "off")
    )
    update_heartbeat(disabled, actor=None, now=world.now, enabled=False)
    world.ping(healthy)
    world.advance(minutes(4))
    world.ping(healthy)
    update_heartbeat(waiting, actor=None, now=world.now, interval_minutes=60)
    world.advance(minutes(4))
    StatePeriod.objects.all().delete()
    for _ in range(2):  # it may be interrupted, and run again
        with connection.cursor() as cursor:
            cursor.execute(FILL)
            upgraded_at = cursor.execute("SELECT now()").fetchone()[0]

    now = upgraded_at + timedelta(minutes=10)
    ids = [job.pk for job in (healthy, silent, waiting, disabled)]
    found = histories(ids, since=world.now - timedelta(days=1), now=now)

    names = [[stretch.condition.value for stretch in found[pk].stretches] for pk in ids]
    assert names == [["no_data", "up"], ["no_data", "down"], ["no_data"], ["no_data", "disabled"]]
    assert found[silent.pk].stretches[-1].length == now - (world.now - minutes(3))
