"""A person who opted out of an integration is not notified about it.

Everybody else is, and other things they are notified.
"""

import pytest

from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


def test_who_opted_out_is_not_notified_and_the_walk_goes_on_to_the_next(world: World, client_for):
    team = world.team("Ops", primary=["ana"], secondary=["sam"])
    noisy = world.heartbeat("noisy", every=minutes(5), recipient_groups=[team])
    other = world.heartbeat("other", every=minutes(20), recipient_groups=[team])
    api = client_for(world.person("ana"))
    assert api.post(f"/api/v1/integrations/{noisy.pk}/opt-out/").status_code == 204
    world.advance(minutes(5))
    world.expect_page("sam", about=noisy)
    world.expect_nothing_else()
    assert api.delete(f"/api/v1/integrations/{noisy.pk}/opt-out/").status_code == 204
    world.ping(noisy)
    world.advance(seconds(1))
    world.expect_mail("sam", saying="back")
    world.advance(minutes(5))
    world.expect_page("ana", about=noisy)
    world.expect_nothing_else()
    assert other.name


def test_an_opt_out_of_another_organizations_integration_is_a_404(world: World, client_for):
    from tests.factories import HeartbeatFactory

    api = client_for(world.person("ana"))
    assert api.post(f"/api/v1/integrations/{HeartbeatFactory().pk}/opt-out/").status_code == 404
