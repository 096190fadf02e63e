"""More is due than can be sent at once: who has not heard of an alert yet comes before everything else."""

import pytest

from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


def test_after_a_time_without_delivery_first_pages_go_before_reminders_and_recoveries(world: World):
    retrying = world.policy(steps=[{"role": "primary", "retries": 1, "retry_interval_minutes": 5}])
    over = world.heartbeat("over", every=minutes(5), recipients=["ana"])
    known = world.heartbeat("known", every=minutes(5), recipients=["ben"], escalation_policy=retrying)
    fresh = world.heartbeat("fresh", every=minutes(12), recipients=["cleo"])
    world.advance(minutes(5))
    world.expect_page("ana", about=over)
    world.expect_page("ben", about=known)
    world.expect_nothing_else()

    world.away.add("delivery")
    world.advance(minutes(3))
    world.ping(over)
    world.advance(minutes(4))
    world.expect_nothing_else()
    world.away.clear()

    world.advance(seconds(1))
    world.expect_page("cleo", about=fresh)
    world.expect_page("ben", about=known)
    world.expect_recovery("ana", about=over)
    world.expect_nothing_else()
