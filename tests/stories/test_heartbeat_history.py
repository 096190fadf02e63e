"""What is stored of a heartbeat's past agrees with what its state was at each moment."""

import random

import pytest

from alerting.services import alerts as alerting
from integrations.availability import periods
from integrations.availability.numbers import Condition
from integrations.heartbeats import edits, history
from integrations.maintenance import windows
from integrations.models.periods import StatePeriod
from integrations.upkeep import retention
from tests.world import World, days, hours, minutes, seconds

pytestmark = pytest.mark.django_db


def history_of(world, integration, *, since=None):
    return periods.histories([integration.pk], since=since or world.now - days(90), now=world.now)[integration.pk]


def conditions(found):
    return [(stretch.condition.value, stretch.length) for stretch in found.stretches]


def test_a_silence_lasts_from_its_deadline_to_the_first_ping_after_it(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(2))
    world.ping(backup)
    world.advance(minutes(5) + seconds(90))
    world.ping(backup)
    world.advance(minutes(1))

    found = history_of(world, backup)

    assert conditions(found) == [("no_data", minutes(2)), ("up", minutes(5)), ("down", seconds(90)), ("up", minutes(1))]
    (silence,) = found.silences
    assert silence.has_recovered
    assert silence.length == seconds(90)


def test_a_ping_ends_the_silence_whose_alert_somebody_closed_before(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ping(backup)
    world.advance(minutes(6))
    alerting.close_alerts([world.alert(backup).pk], reason="known", now=world.now)
    world.advance(minutes(6))
    assert conditions(history_of(world, backup))[-1] == ("down", minutes(7))
    world.ping(backup)
    world.advance(minutes(3))
    world.ping(backup)
    world.advance(minutes(1))
    # Nobody has written its end, but whoever reads the history sees it.
    assert StatePeriod.objects.filter(kind="missed", ended_at=None).exists()
    expected = [("up", minutes(5)), ("down", minutes(7)), ("up", minutes(4))]
    assert conditions(history_of(world, backup)) == expected

    history.keep_history(now=world.now)

    assert not StatePeriod.objects.filter(ended_at=None).exists()
    assert conditions(history_of(world, backup)) == expected


def test_another_miss_ends_the_silence_before_it_at_the_ping_between(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ping(backup)
    world.advance(minutes(6))
    alerting.close_alerts([world.alert(backup).pk], reason="known", now=world.now)
    world.ping(backup)
    world.advance(minutes(6))

    assert conditions(history_of(world, backup)) == [
        ("up", minutes(5)),
        ("down", minutes(1)),
        ("up", minutes(5)),
        ("down", minutes(1)),
    ]


def test_maintenance_and_our_own_outages_stand_apart(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ping(backup)
    window = windows.create_window(
        world.organization,
        name="work",
        starts_at=world.now + minutes(1),
        ends_at=world.now + hours(2),
        integrations=[backup],
        now=world.now,
    )
    world.advance(minutes(31))
    windows.delete_window(window, now=world.now)
    world.advance(minutes(3))
    world.ping(backup)
    world.sleep(minutes(10))
    world.pulse()
    world.beat()
    world.ping(backup)
    world.advance(minutes(1))

    numbers = history_of(world, backup).numbers(world.now - days(1), world.now)

    assert numbers.time("maintenance") == minutes(30)
    assert minutes(10) - seconds(1) <= numbers.time("outage") <= minutes(10) + seconds(1)
    assert numbers.availability == 1
    assert numbers.silences == 0


def test_old_periods_are_deleted_and_the_history_begins_after_them(world: World, settings):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ping(backup)
    world.advance(minutes(6))
    world.ping(backup)
    world.beat()
    world.now += days(settings.ALERT_RETENTION_DAYS + 1)

    retention.delete_what_is_old(now=world.now)

    assert not StatePeriod.objects.exists()
    assert history_of(world, backup, since=world.now - days(1000)).known_since == world.now - days(
        settings.ALERT_RETENTION_DAYS
    )


@pytest.mark.parametrize("seed", range(2))
def test_after_random_events_the_history_says_what_the_state_was_at_each_moment(world: World, seed):
    chance = random.Random(seed)
    jobs = [world.heartbeat(f"job {n}", every=minutes(5), recipients=["ana"]) for n in range(3)]
    planned = []
    seen = []

    def close(job):
        alerting.close_alerts([alert.pk for alert in world.alerts(job)], reason="known", now=world.now)

    def enable(job):
        job.refresh_from_db()
        edits.update_heartbeat(job, actor=None, now=world.now, enabled=not job.enabled)

    def plan(job):
        starts_at = world.now + minutes(chance.choice([0, 4]))
        covered = {"integrations": [job]} if chance.random() < 0.7 else {"all_integrations": True}
        window = windows.create_window(
            world.organization,
            name="work",
            starts_at=starts_at,
            ends_at=starts_at + minutes(chance.choice([3, 9])),
            now=world.now,
            **covered,
        )
        planned.append(window)

    def end_window(_):
        if planned:
            windows.delete_window(planned.pop(), now=world.now)

    def ping(job):
        world.ping(job)

    def keep(_):
        history.keep_history(now=world.now)

    for _ in range(60):
        chance.choice([ping, ping, ping, ping, close, enable, plan, end_window, keep])(chance.choice(jobs))
        world.beat()
        for job in jobs:
            heartbeat = world.heartbeat_of(job)
            state = heartbeat.state
            if state != "disabled" and heartbeat.suspended_until and heartbeat.suspended_until > world.now:
                state = "maintenance"
            seen.append((job, world.now, state))
        world.advance(seconds(chance.choice([1, 30, 100, 290])))

    names = {"missed": "down", "waiting": "no_data", "healthy": "up"}
    for job in jobs:
        stretches = history_of(world, job).stretches
        for _, at, state in (one for one in seen if one[0] == job):
            (found,) = [stretch for stretch in stretches if stretch.started_at <= at < stretch.ended_at]
            assert found.condition == Condition(names.get(state, state)), (job.name, at, found)
