"""People hear of coverage gaps before the night they matter: one mail a day, and one a day before a gap."""

from datetime import datetime, timedelta

import pytest

from accounts.services.users import update_user
from escalation.notifications.deliver import deliver_due
from integrations.coverage.watch import watch_coverage
from integrations.models.mails import CoverageWatch
from tests.factories.shifts import make_rotation, make_shift
from tests.world import minutes

pytestmark = pytest.mark.django_db

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def live(world, by, step=None):
    """Let time pass with nothing but the watch and delivery running."""
    end = world.now + by
    while world.now < end:
        watch_coverage(now=world.now)
        deliver_due(now=world.now)
        world.now += step or minutes(5)


@pytest.fixture
def olga(world):
    return world.person("olga", roles=["Owner", "App Admin"], time_zone="Europe/Berlin")


def flat(message):
    return " ".join(message.body.split())


def test_gaps_that_last_are_mailed_once_a_day_to_owners_app_admins_and_the_managers_concerned(world, olga):
    world.person("adam", roles=["App Admin"])
    empty = world.team("Empty", managers=[])
    other = world.team("Other", primary=["zoe"], managers=["max"])
    world.heartbeat("mirror", every=minutes(5), recipient_groups=[other])
    world.heartbeat("backup", every=minutes(5), recipient_groups=[empty])
    live(world, minutes(10))
    world.expect_nothing_else()
    live(world, minutes(5))
    for who in ("olga", "adam"):
        mail = world.expect_mail(who, saying="1 heartbeat would reach nobody now")
        assert "- backup, now. Primary of Empty: nobody is there." in flat(mail)
        assert "mirror" not in mail.body
        assert "/heartbeats/coverage-gaps/" in mail.body
    live(world, 23 * HOUR + minutes(55), step=HOUR - minutes(5))
    world.expect_nothing_else()
    live(world, HOUR, step=minutes(30))
    world.expect_mail("olga", saying="1 heartbeat would reach nobody now")
    world.expect_mail("adam", saying="1 heartbeat would reach nobody now")
    world.expect_nothing_else()


def test_a_manager_hears_of_their_own_groups_alone(world, olga):
    first, second = world.team("First", managers=["mia"]), world.team("Second", managers=["max"])
    pages = [{"role": "primary"}]
    for name, team in (("backup", first), ("mirror", second)):
        world.heartbeat(
            name, every=minutes(5), recipient_groups=[team], escalation_policy=world.policy(name=name, steps=pages)
        )
    live(world, minutes(15))
    for who, named, other in (("mia", "backup", "mirror"), ("max", "mirror", "backup")):
        mail = world.expect_mail(who, saying="1 heartbeat would reach nobody now")
        assert f"- {named}, now." in mail.body
        assert other not in mail.body
        assert "/heartbeats/coverage-gaps/" not in mail.body  # a page that they may not see
    world.expect_mail("olga", saying="2 heartbeats would reach nobody now")
    world.expect_nothing_else()


def test_an_edit_in_several_steps_and_an_empty_list_bring_no_mail(world, olga):
    ana = world.person("ana")
    world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    live(world, minutes(10))
    update_user(ana, actor=olga, now=world.now, is_active=False)
    live(world, minutes(9), step=minutes(3))
    update_user(ana, actor=olga, now=world.now, is_active=True)
    live(world, DAY, step=2 * HOUR)
    update_user(ana, actor=olga, now=world.now, is_active=False)  # the time counts anew
    live(world, minutes(10))
    world.expect_nothing_else()
    live(world, minutes(5))
    world.expect_mail("olga", saying="would reach nobody now")
    update_user(ana, actor=olga, now=world.now, is_active=True)
    live(world, 3 * DAY, step=6 * HOUR)
    world.expect_nothing_else()


def test_a_gap_ahead_has_a_mail_a_day_and_one_a_day_before_it(world, olga):
    ana = world.person("ana")
    team = world.team("Database", primary=["ana"])
    begins = world.now + 3 * DAY + 5 * HOUR
    make_shift(team, primary=[ana], ends_at=begins)
    make_shift(team, primary=[ana], starts_at=begins + 10 * HOUR)
    world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    live(world, minutes(15))
    live(world, 2 * DAY + 4 * HOUR - minutes(15), step=minutes(45))
    for _ in range(3):  # after ten minutes, a day, two days
        mail = world.expect_mail("olga", saying="1 heartbeat would reach nobody from Thu 5 Mar 2026, 18:00:00 CET")
        assert "until Fri 6 Mar 2026, 04:00:00 CET" in flat(mail)
    world.expect_nothing_else()
    live(world, begins - DAY - world.now + minutes(5))
    world.expect_mail("olga", saying="from Thu 5 Mar 2026, 18:00:00 CET")
    world.expect_nothing_else()
    live(world, 23 * HOUR, step=HOUR)
    world.expect_nothing_else()  # it is named again a day after the last mail
    live(world, 2 * HOUR, step=minutes(20))
    world.expect_mail("olga", saying="would reach nobody now")
    live(world, 2 * DAY, step=4 * HOUR)
    world.expect_nothing_else()


def test_a_gap_every_night_has_one_mail_a_day(world, olga):
    team = world.team("Database", primary=["ana"])
    days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    make_shift(team, primary=[world.person("ana")], windows=[(days, "08:00", "18:00")])
    world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    live(world, minutes(15))
    world.expect_mail("olga", saying="would reach nobody from Mon 2 Mar 2026, 19:00:00 CET")
    live(world, 4 * DAY, step=HOUR)
    # The gap of the evening is named in the morning, when that of the night before is over: that is the day's mail.
    for day in ("Tue 3", "Wed 4", "Thu 5", "Fri 6"):
        world.expect_mail("olga", saying=f"would reach nobody from {day} Mar 2026, 19:00:00 CET")
    world.expect_nothing_else()


def test_the_end_of_a_rota_is_mailed_and_a_hole_in_which_somebody_is_notified_is_not(world, olga):
    team = world.team("Database", primary=["ana", "bob"], managers=["mia"])
    make_rotation(team, primary=[world.person("ana"), world.person("bob")], ends_at=world.now + 3 * DAY)
    office = world.team("Office", primary=["zoe"], managers=["max"])
    make_shift(office, primary=[world.person("zoe")], windows=[(("monday",), "08:00", "18:00")])
    world.heartbeat("backup", every=minutes(5), recipient_groups=[team, office])
    live(world, minutes(20))
    for who in ("olga", "mia"):
        mail = world.expect_mail(who, saying="The rota of Database ends")
        assert "all members of the group are" in flat(mail)
    world.expect_nothing_else()


def test_an_organization_without_enabled_heartbeats_is_not_looked_at(world, olga):
    world.heartbeat("backup", every=minutes(5), enabled=False)
    live(world, minutes(30))
    assert not CoverageWatch.objects.exists()
    world.expect_nothing_else()


def test_many_gaps_are_one_mail_with_the_first_of_them(world, olga):
    empty = world.team("Empty")
    for number in range(23):
        world.heartbeat(f"job {number:02}", every=minutes(5), recipient_groups=[empty])
    live(world, minutes(15))
    mail = world.expect_mail("olga", saying="23 heartbeats would reach nobody now")
    assert ("job 19" in mail.body, "job 20" in mail.body) == (True, False)
    assert "- and 3 more" in mail.body
    world.expect_nothing_else()


def test_the_day_of_a_mail_is_counted_from_the_mail(world, olga):
    world.heartbeat("backup", every=minutes(5))
    live(world, minutes(15))
    world.expect_mail("olga", saying="would reach nobody now")
    assert CoverageWatch.objects.get().mailed_at == datetime.fromisoformat("2026-03-02T12:10:00Z")
