"""A backup with escalations under way is restored ten minutes later, into another database.

Nobody is paged falsely, and no silence is lost.
"""

import contextlib
import re

import pytest
from django.core import mail
from django.test import Client

from accounts.models.installation import Restore
from accounts.models.organizations import Organization
from accounts.models.users import User
from escalation.models.notifications import Notification
from heartbeat_project.kernel import clock
from integrations.heartbeats.history import keep_history
from integrations.models.history import Ping
from integrations.models.outages import Outage
from integrations.upkeep.release import preview_release, release
from tests import factories
from tests.databases import second_database
from tests.restoring import back_up, definitions, drop_days, everything, leftovers, restore
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_days_are_left(transactional_db):
    drop_days()
    yield
    drop_days()


@pytest.fixture
def other_database(transactional_db):
    """Return a function that replaces the test's database by an empty one until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(second_database("restored"))


def test_a_restored_installation_is_held_and_released_without_false_alarms(
    world: World, client, client_for, tmp_path, monkeypatch, other_database
):
    monkeypatch.setattr(clock, "now", lambda: world.now)
    # What text a row may hold, and pings in partitions and beside them.
    Organization.objects.update(name="\ttab, \\N, line\n\\.\n“ö”")
    keep_history(now=world.now)
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    policy = world.policy()
    silent, back = (
        world.heartbeat(name, every=minutes(5), escalation_policy=policy, recipient_groups=[team])
        for name in ("silent", "back")
    )
    lively = world.heartbeat("lively", every=minutes(4), recipients=["max"])
    dead = world.heartbeat("dead", every=minutes(4), recipients=["eve"])
    later = world.heartbeat("later", every=minutes(60), recipients=["eve"])
    api = client_for(world.person("ana", roles=["App Admin"]))
    owner = factories.UserFactory(organization=world.organization, roles=["Owner"])
    client.force_login(owner)
    for _ in range(4):
        world.advance(minutes(2))
        for pinged in (lively, dead, later):
            world.ping(pinged)
    link = re.findall(r"http://127\.0\.0\.1:8000(/r/[\w-]+)", world.expect_page("ana", about=silent).body)[0]
    world.expect_page("ana", about=back)
    # Written a moment before the backup and sent after it: old news when it is restored.
    Notification.objects.create(
        organization=world.organization, user=world.person("ana"), kind=Notification.Kind.NOTICE, subject="Old news",
        channel="email", address="ana@example.com", created_at=world.now, next_attempt_at=world.now,
    )  # fmt: skip
    before, tables = everything(), definitions()
    taken_at = world.now
    backup = back_up(tmp_path / "backup", now=taken_at)
    world.advance(minutes(1))
    world.expect_mail("ana", saying="Old news")
    # What happened since then is lost with the machine.
    User.objects.filter(email="eve@example.com").update(is_active=False)
    Ping.objects.all().delete()
    world.sleep(minutes(9))

    other_database()
    restore(backup, now=world.now, replace=False)

    assert everything() == before
    assert definitions() == tables
    assert leftovers() == []
    # Held: pings are stored, and that is all.
    api.patch(f"/api/v1/users/{world.person('sam').pk}/", {"name": "Samuel"}, format="json")
    for _ in range(3):
        world.advance(minutes(2), at_most_every=minutes(0.5))
        assert world.ping(lively)
        assert world.ping(back)
    assert api.get("/api/v1/users/me/").status_code == 200
    assert "Assign to me" in Client().get(link).content.decode()
    world.expect_nothing_else()
    assert [alert.status for alert in world.alerts()] == ["open", "open"]
    assert Notification.objects.filter(next_attempt_at__lte=world.now).exists()

    assert "Held since a restore" in client.get("/alerts/").content.decode(), "the session is still valid"

    # Released: recovered alerts close, the others go on, the rest waits for a new interval.
    preview = preview_release(now=world.now)
    assert preview is not None
    assert (preview.running_timers, preview.open_alerts, preview.dropped) == (4, 2, 1)
    released_at = world.now
    assert release(by=owner, now=world.now).taken_at == taken_at
    assert release(by=owner, now=world.now) is None
    world.advance(seconds(1))
    outage = Outage.objects.get()
    assert outage.ended_at == released_at
    assert taken_at - seconds(2) <= outage.started_at <= taken_at
    world.expect_page("sam", about=silent)
    world.expect_recovery("ana", about=back)
    about_outage = [message for message in mail.outbox[world._looked_at :] if "could not receive pings" in message.body]
    world._looked_at += len(about_outage)
    world.expect_nothing_else()
    assert world.alert(back).status == "closed"

    # The true silence is paged when the time that it missed is over; what pings again is not.
    for _ in range(3):
        world.advance(minutes(2))
        world.ping(lively)
        world.ping(back)
    world.expect_page("eve", about=dead)
    assert [alert.integration_id for alert in world.alerts()] == [silent.pk, back.pk, dead.pk]
    assert world.alerts(later) == []
    assert Restore.objects.get().released_by == owner
