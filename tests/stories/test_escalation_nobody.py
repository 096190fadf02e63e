"""Nobody is ever paged silently by nobody (domain: who is paged, and when)."""

import pytest

from alerting.services.alerts import assign
from escalation.engine.advance import escalate, expedite
from tests.stories.test_escalation_policy import silent, timeline
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(world):
    return world.person("olga", roles=["Owner"])


def away(world, *names):
    for name in names:
        world.person(name).is_active = False
        world.person(name).save()


def test_a_role_without_anybody_reachable_is_passed_over_at_once(world):
    team = world.team("Database", primary=["ana"], secondary=["sam"], managers=["mia"])
    away(world, "sam")
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.advance(minutes(5))
    world.expect_page("mia", about=job)
    world.expect_nothing_else()
    said = "Secondary of Database: nobody can be reached. Going on to Manager of Database at once."
    assert ("skipped", said) in timeline(world, job)


def test_the_owner_and_app_admins_are_notified_at_once_when_the_walk_reaches_nobody(world, owner):
    world.person("adam", roles=["App Admin"])
    team = world.team("Database", primary=["ana"])
    away(world, "ana")
    job = silent(world, recipient_groups=[team])
    mail = world.expect_mail("olga", saying="Nobody was reached", about=job)
    said = " ".join(mail.body.split())
    to_do = "Take it, or call somebody; then add somebody who can be reached to “Database”."
    assert f"Nobody was reached. {to_do}" in said
    why = "Nobody can be reached in Primary of Database. Nobody is in Secondary of Database and Manager of Database."
    assert f"Why nobody was reached: {why}" in said
    world.expect_mail("adam", saying="Nobody was reached", about=job)
    world.expect_nothing_else()
    ((_, said),) = [row for row in timeline(world, job) if row[0] == "last_resort"]
    assert "Notifying Olga and Adam instead." in said
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_an_integration_that_names_nobody_leads_to_the_last_resort(world, owner):
    job = silent(world)
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.expect_nothing_else()


def test_a_disabled_policy_is_not_walked_and_the_owner_learns_why(world, owner):
    policy = world.policy(name="Nights", enabled=False)
    job = silent(world, recipients=["ana"], escalation_policy=policy)
    mail = world.expect_mail("olga", saying="Nobody was reached", about=job)
    assert "The escalation policy “Nights” is disabled." in mail.body
    world.expect_nothing_else()


def test_without_an_owner_the_timeline_says_that_there_is_nobody(world):
    job = silent(world)
    world.expect_nothing_else()
    ((_, said),) = [row for row in timeline(world, job) if row[0] == "last_resort"]
    assert "no active Owner or App Admin" in said


def test_an_app_admin_who_is_not_active_is_not_notified(world, owner):
    world.person("adam", roles=["App Admin"])
    away(world, "adam")
    job = silent(world)
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.expect_nothing_else()


def test_a_last_resort_that_was_put_away_is_sent_when_the_alert_is_handed_on_after_all(world, owner):
    ana = world.person("ana", is_active=False)
    max_ = world.person("max")
    world.away.add("delivery")
    job = silent(world, recipients=[ana.name.lower()])
    assign(world.alert(job), actor=max_, to=max_, now=world.now)
    world.away.clear()
    world.advance(seconds(1))
    world.expect_nothing_else()
    escalate(world.alert(job), actor=max_, now=world.now)
    world.advance(seconds(1))
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.expect_nothing_else()
    expedite([world.alert(job).pk], now=world.now)
    world.advance(seconds(1))
    world.expect_nothing_else()


def test_people_who_become_reachable_later_are_notified_when_their_step_comes(world):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    away(world, "sam")
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.person("sam").is_active = True
    world.person("sam").save()
    world.advance(minutes(5))
    world.expect_page("sam", about=job)


def test_the_last_resort_is_not_used_while_somebody_was_notified(world, owner):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    away(world, "sam")
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.advance(minutes(60) + seconds(1))
    world.expect_nothing_else()
