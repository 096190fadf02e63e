"""What a group shares is notified when the group is, receives, and never counts as somebody who was reached."""

import pytest

from accounts.models.groups import GroupNesting
from alerting.services import alerts
from escalation.models.notifications import Notification
from escalation.models.policies import PlayTier
from integrations.coverage.who_is_notified import current_coverage_gaps, who_would_be_notified
from tests import factories
from tests.stories.test_escalation_policy import silent, timeline
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db
OPS = "ops@example.org"


@pytest.fixture
def team(world):
    return world.team("On call", primary=["ana"], secondary=["sam"], managers=["mia"])


@pytest.fixture
def refuse(mailbox):
    """Have the mail server refuse an address for good."""

    def refuse(address):
        mailbox.refusals[address] = (550, b"no such mailbox")

    return refuse


def expect_shared(world, job, address=OPS):
    return world.expect_page("the group", about=job, address=address)


def test_a_groups_mailbox_is_notified_once_together_with_its_primary(world, team):
    world.share(team, OPS)
    policy = world.policy(
        steps=[
            {"role": "primary", "retries": 2, "retry_interval_minutes": 1},
            {"role": "secondary", "wait_minutes": 5},
        ]
    )
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    expect_shared(world, job)
    assert ("notified", f"E-mail to Mailbox {OPS} of On call: sent") in timeline(world, job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("ana", about=job)
    world.expect_page("ana", about=job)
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_a_centralized_policy_notifies_the_contacts_of_a_group_whatever_labels_it_names(world, team):
    world.share(team, OPS)
    policy = world.policy(notify_using="centralized", steps=[{"role": "primary", "contact_labels": ["Email-Official"]}])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    expect_shared(world, job)
    world.expect_nothing_else()


def test_each_repeat_of_the_walk_notifies_it_again(world, team):
    world.share(team, OPS)
    policy = world.policy(steps=[{"role": "primary", "wait_minutes": 5}], repeats=1)
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_nothing_else()
    for _ in range(2):
        world.advance(minutes(5))
        world.expect_page("ana", about=job)
        expect_shared(world, job)
        world.expect_nothing_else()


def test_a_later_group_has_its_contacts_notified_when_its_own_turn_comes(world, team):
    world.share(team, OPS)
    other = world.team("Network", primary=["nina"])
    world.share(other, "net@example.org")
    policy = world.policy(steps=[{"role": "primary"}], next_group_wait_minutes=10)
    job = silent(world, recipient_groups=[team, other], escalation_policy=policy)
    world.expect_page("ana", about=job)
    expect_shared(world, job)
    world.expect_nothing_else()
    world.advance(minutes(10))
    world.expect_page("nina", about=job)
    expect_shared(world, job, "net@example.org")
    world.expect_nothing_else()


def test_a_play_notifies_it_in_each_tier_in_which_the_group_stands_and_at_once_where_it_is_named(world, team):
    world.share(team, OPS)
    play = factories.PlayFactory(organization=world.organization)
    for offset, groups in ((0, [team]), (5, []), (10, [team])):
        tier = PlayTier.objects.create(play=play, offset_minutes=offset)
        tier.groups.set(groups)
        tier.users.set([world.person("zoe")])
    job = silent(world, response_play=play, recipient_groups=[team])

    def expect_team():
        for who in ("ana", "sam", "mia"):
            world.expect_page(who, about=job)
        expect_shared(world, job)

    expect_team()
    world.expect_page("zoe", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("zoe", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    expect_team()
    world.expect_page("zoe", about=job)
    world.expect_nothing_else()


def test_groups_within_a_group_have_their_contacts_notified_with_it_and_once_where_two_ways_lead_to_them(world, team):
    around = world.team("Operations")
    GroupNesting.objects.create(group=around, child=team)
    world.share(team, OPS)
    world.share(around, "all@example.org")
    policy = world.policy(steps=[{"role": "primary"}])
    job = silent(world, recipient_groups=[around, team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    expect_shared(world, job, "all@example.org")
    expect_shared(world, job)
    world.expect_nothing_else()
    previewed = who_would_be_notified(job, at=world.now).steps[0].notifications
    assert [notification.name for notification in previewed] == ["Ana", "Operations", "On call"]


def test_the_contacts_of_a_group_around_it_are_left_alone(world, team):
    around = world.team("Operations")
    GroupNesting.objects.create(group=around, child=team)
    world.share(around, "all@example.org")
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(steps=[{"role": "primary"}]))
    world.expect_page("ana", about=job)
    world.expect_nothing_else()


def test_what_is_switched_off_or_was_not_verified_is_not_notified(world, team):
    world.share(team, OPS, enabled=False)
    world.share(team, "new@example.org", label="New", verified_at=None)
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(steps=[{"role": "primary"}]))
    world.expect_page("ana", about=job)
    world.expect_nothing_else()


def test_a_mailbox_receives_and_cannot_respond_and_learns_of_the_recovery(world, team):
    world.share(team, OPS)
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(steps=[{"role": "primary"}]))
    world.expect_page("ana", about=job)
    page = expect_shared(world, job)
    assert f"/alerts/{world.alert(job).pk}/" in page.body
    assert "/r/" not in page.body
    assert "Heartbeat for On call." in page.body
    assert not page.reply_to
    world.ping(job)
    world.advance(seconds(1))
    world.expect_recovery("ana", about=job)
    world.expect_mail("the group", saying="recovered", about=job, address=OPS)
    world.expect_nothing_else()


def test_a_walk_that_notified_only_a_mailbox_goes_on_at_once_and_ends_with_the_owners(world):
    world.person("olga", roles=["Owner"])
    team = world.team("On call")
    world.share(team, OPS)
    job = silent(world, recipient_groups=[team])
    expect_shared(world, job)
    note = world.expect_mail("olga", saying="Nobody was reached", about=job)
    assert "Only the shared contacts of groups are notified." in note.body
    world.expect_nothing_else()
    kinds = [kind for kind, _ in timeline(world, job)]
    assert kinds.count("skipped") == 3
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_when_every_message_to_people_fails_a_mailbox_that_was_reached_does_not_hold_up_the_next_step(
    world, team, refuse
):
    world.share(team, OPS)
    refuse("ana@example.com")
    job = silent(world, recipient_groups=[team])
    world.advance(seconds(1))
    expect_shared(world, job)
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_when_a_mailbox_refuses_the_walk_keeps_its_times(world, team, refuse):
    world.share(team, OPS)
    refuse(OPS)
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.advance(minutes(4))
    world.expect_mail("mia", saying="Alerts do not reach On call")
    world.expect_nothing_else()
    assert Notification.objects.get(group=team).status == "failed"
    world.advance(minutes(1))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_a_mailbox_that_refuses_alone_in_its_step_expedites_nobody(world, refuse):
    first = world.team("Database", primary=["ana"], secondary=["sam"])
    second = world.team("Nobody there")
    world.share(second, OPS)
    refuse(OPS)
    policy = world.policy(
        next_group_wait_minutes=10, steps=[{"role": "primary"}, {"role": "secondary", "wait_minutes": 20}]
    )
    job = silent(world, recipient_groups=[first, second], escalation_policy=policy)
    world.expect_page("ana", about=job)
    world.advance(minutes(19))
    assert Notification.objects.get(group=second).status == "failed"
    world.expect_nothing_else()
    world.advance(minutes(1))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_nothing_goes_to_a_mailbox_after_the_alert_was_taken(world, team):
    world.share(team, OPS)
    policy = world.policy(steps=[{"role": "primary", "wait_minutes": 5}])
    job = silent(world, recipient_groups=[team], recipients=["zoe"], escalation_policy=policy)
    world.expect_page("zoe", about=job)
    zoe = world.person("zoe")
    alerts.assign(world.alert(job), actor=zoe, to=zoe, now=world.now)
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_a_storm_reaches_a_mailbox_in_one_message_after_the_first(world, team):
    world.bundle(seconds(5))
    world.share(team, OPS)
    policy = world.policy(steps=[{"role": "primary"}])
    jobs = [
        world.heartbeat(f"job {number}", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
        for number in range(4)
    ]
    world.advance(minutes(6))
    to_mailbox = [message for message in world.mails if message.to == [OPS]]
    assert len(to_mailbox) == 2
    assert sum(job.name in to_mailbox[1].body for job in jobs) == 3
    assert f"/alerts/{world.alert(jobs[3]).pk}/" in to_mailbox[1].body
    assert "/r/" not in to_mailbox[1].body
    assert len(world.mails) == 4


def test_it_is_previewed_as_it_then_happens(world, team):
    contact = world.share(team, OPS)
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    moments = who_would_be_notified(job, at=world.now).steps
    shared = [
        (notification.group_id, notification.name, notification.label)
        for moment in moments
        for notification in moment.notifications
        if not notification.user_id
    ]
    assert shared == [(team.pk, "On call", contact.label)]
    assert moments[0].notifications[-1].group_id == team.pk


def test_a_silence_of_which_only_a_mailbox_would_be_notified_is_listed_and_said_to_fail(world):
    owner = world.person("olga", roles=["Owner"])
    team = world.team("On call")
    world.share(team, OPS)
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    assert current_coverage_gaps(world.organization, at=world.now)[job.pk].endswith(
        "Only the shared contacts of groups are notified."
    )
    escalation_preview = who_would_be_notified(job, at=world.now)
    assert "only_shared_contacts" in [problem.code for problem in escalation_preview.problems]
    assert escalation_preview.instead == [owner]
