"""Who is paged is who is on call, at each step (domain: on call, out of office)."""

import pytest

from accounts.services.opt_outs import opt_out
from escalation.oncall.shifts import PersonRule, update_shift
from tests.factories.shifts import make_absence, make_rotation, make_shift
from tests.stories.test_escalation_policy import silent, timeline
from tests.world import minutes

pytestmark = pytest.mark.django_db
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")


def people(world, *names):
    return [world.person(name) for name in names]


def test_a_group_without_shifts_uses_its_member_list_and_roles(world):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_only_the_person_whose_turn_it_is_is_paged_and_the_manager_comes_from_the_member_list(world):
    team = world.team("Database", primary=["ana", "bob", "cy"], managers=["mia"])
    make_rotation(team, primary=people(world, "ana", "bob", "cy"), first="2026-02-23")  # a week ago: it is Bob's
    job = silent(world, recipient_groups=[team])
    world.expect_page("bob", about=job)
    world.expect_nothing_else()
    world.advance(minutes(10))
    world.expect_page("mia", about=job)
    world.expect_nothing_else()
    said = "Secondary of Database: nobody is there. Going on to Manager of Database at once."
    assert ("skipped", said) in timeline(world, job)


def test_a_hand_off_between_two_steps_counts(world):
    """The run began while Ana and Bob were Primary and Secondary; they swap before the Secondary is asked."""
    team = world.team("Database", primary=["ana", "bob"])
    ana, bob = people(world, "ana", "bob")
    make_rotation(team, primary=[ana, bob], secondary=[bob, ana], rotates_every="day", first="2026-03-01", at="12:04")
    job = silent(world, recipient_groups=[team])  # 12:00, the first turn
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))  # 12:05, the second
    world.expect_page("bob", about=job)  # who came on call as Primary
    world.expect_page("ana", about=job)
    world.expect_nothing_else()


def test_a_hand_off_between_two_retries_counts(world):
    team = world.team("Database", primary=["ana", "bob"])
    make_rotation(team, primary=people(world, "ana", "bob"), rotates_every="day", first="2026-03-01", at="12:03")
    policy = world.policy(steps=[{"role": "primary", "retries": 2, "retry_interval_minutes": 2}])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    world.advance(minutes(2))
    world.expect_page("ana", about=job)
    world.advance(minutes(2))  # 12:04
    world.expect_page("bob", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_a_hand_off_between_two_turns_counts(world):
    team = world.team("Database", primary=["ana", "bob", "cy"], managers=["mia"])
    ana, bob, cy = people(world, "ana", "bob", "cy")
    make_shift(team, primary=[ana, bob], name="Always")
    make_shift(team, primary=[ana, cy], name="Later", starts_at=world.now + minutes(1), ends_at=world.now + minutes(60))
    policy = world.policy(
        steps=[{"role": "primary", "between_members_minutes": 2}, {"role": "manager", "wait_minutes": 5}]
    )
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    world.advance(minutes(2))
    world.expect_page("cy", about=job)
    world.advance(minutes(5))
    world.expect_page("mia", about=job)
    world.advance(minutes(60))
    world.expect_page("bob", about=job)  # who came on call again when “Later” ended
    world.expect_nothing_else()


def test_where_nobody_is_left_for_a_retry_the_next_role_comes_at_once_and_the_timeline_says_so(world):
    team = world.team("Database", primary=["ana"], managers=["mia"])
    make_shift(team, primary=people(world, "ana"), ends_at=world.now + minutes(1), starts_at=world.now - minutes(600))
    make_shift(team, primary=people(world, "ana"), windows=[(WEEKDAYS, "01:00", "02:00")])
    policy = world.policy(
        steps=[
            {"role": "primary", "retries": 5, "retry_interval_minutes": 5},
            {"role": "manager", "wait_minutes": 30},
        ]
    )
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    world.advance(minutes(5))
    world.expect_page("mia", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    said = "Primary of Database: nobody else is there. Going on to Manager of Database at once."
    assert timeline(world, job).count(("skipped", said)) == 1


def test_an_override_wins_and_then_the_longer_shift_resumes(world):
    team = world.team("Database", primary=["ana", "bob"])
    ana, bob = people(world, "ana", "bob")
    make_shift(team, primary=[ana], name="Always")
    make_shift(team, primary=[bob], name="Dentist", starts_at=world.now, ends_at=world.now + minutes(30))
    policy = world.policy(steps=[{"role": "primary"}])
    first = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("bob", about=first)
    world.expect_nothing_else()
    world.listening = True
    world.advance(minutes(30))
    world.ping(first)
    world.beat()
    world.expect_recovery("bob", about=first)
    world.expect_page("ana", about=first)  # who came on call at its end, and the ping came a moment later
    world.expect_recovery("ana", about=first)
    world.advance(minutes(1))
    world.expect_page("ana", about=first)
    world.expect_nothing_else()


def test_an_override_in_a_group_without_shifts_leaves_the_member_list_below_it(world):
    team = world.team("Database", primary=["ana", "bob"])
    make_shift(team, primary=people(world, "bob"), ends_at=world.now - minutes(1), starts_at=world.now - minutes(60))
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.expect_page("bob", about=job)
    world.expect_nothing_else()


def test_in_a_gap_the_walk_goes_on_at_once_and_says_so(world):
    team = world.team("Database", primary=["ana"], managers=["mia"])
    make_shift(team, primary=people(world, "ana"), windows=[(WEEKDAYS, "13:00", "17:00")])
    job = silent(world, recipient_groups=[team])
    world.expect_page("mia", about=job)
    world.expect_nothing_else()
    said = "Primary of Database: nobody is there. Going on to Secondary of Database at once."
    assert ("skipped", said) in timeline(world, job)


def test_who_left_the_group_is_not_paged_by_its_shifts(world):
    team = world.team("Database", primary=["ana", "bob"])
    make_shift(team, primary=people(world, "ana", "bob"))
    team.members.filter(user=world.person("ana")).delete()
    job = silent(world, recipient_groups=[team])
    world.expect_page("bob", about=job)
    world.expect_nothing_else()


def test_a_group_in_a_tier_means_all_its_members_on_call_now(world):
    team = world.team("Database", primary=["ana", "bob"], managers=["mia"])
    ana, bob = people(world, "ana", "bob")
    make_rotation(team, primary=[ana, bob], first="2026-03-02")
    play = world.organization.response_plays.create(name="Play")
    play.tiers.create(offset_minutes=0).groups.add(team)
    job = silent(world, response_play=play)
    world.expect_page("ana", about=job)
    world.expect_page("mia", about=job)
    world.expect_nothing_else()


def test_a_group_within_a_group_is_paged_with_it_by_its_own_shifts_and_roles(world):
    outer = world.team("Outer", primary=["ana"], secondary=["sam"])
    middle, inner = world.team("Middle"), world.team("Inner", primary=["bob", "cy"], secondary=["ana"])
    outer.nestings.create(child=middle)
    middle.nestings.create(child=inner)
    make_rotation(inner, primary=people(world, "bob", "cy"), secondary=people(world, "bob"), first="2026-03-02")
    job = silent(world, recipient_groups=[outer])
    world.expect_page("ana", about=job)
    world.expect_page("bob", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    world.expect_page("bob", about=job)
    world.expect_nothing_else()


# -- out of office ----------------------------------------------------------------------------------------------------
def away(world, name, cover, **fields):
    rota_period = {"starts_at": world.now - minutes(60), "ends_at": world.now + minutes(60)} | fields
    return make_absence(world.person(name), world.person(cover), **rota_period)


def test_the_cover_is_notified_instead_and_the_timeline_says_for_whom(world):
    team = world.team("Database", primary=["ana"])
    away(world, "ana", "cy")
    job = silent(world, recipient_groups=[team])
    world.expect_page("cy", about=job)
    world.expect_nothing_else()
    said = "Cy is notified for Ana, out of office until Mon 2 Mar 2026, 13:00:00 UTC."
    assert ("notified", said) in timeline(world, job)


def test_whoever_goes_out_of_office_is_not_notified_again_but_their_cover_is(world):
    away(world, "ana", "cy", starts_at=world.now + minutes(1), ends_at=world.now + minutes(60))
    policy = world.policy(steps=[{"role": "primary", "retries": 2, "retry_interval_minutes": 2}])
    job = silent(world, recipients=["ana"], escalation_policy=policy)
    world.expect_page("ana", about=job)
    for _ in range(2):
        world.advance(minutes(2))
        world.expect_page("cy", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    said = "Cy is notified for Ana, out of office until Mon 2 Mar 2026, 13:00:00 UTC."
    assert timeline(world, job).count(("notified", said)) == 1


def test_the_timeline_does_not_say_that_somebody_is_shown_who_cannot_be(world):
    away(world, "ana", "cy")
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana", "bob"])
    opt_out(world.person("cy"), integration_id=job.pk, now=world.now)
    world.advance(minutes(5))
    world.expect_page("bob", about=job)
    world.expect_nothing_else()
    assert not [text for _, text in timeline(world, job) if "is notified for" in text]


def test_a_cover_who_is_out_is_followed(world):
    away(world, "ana", "cy")
    away(world, "cy", "dee")
    job = silent(world, recipients=["ana"])
    world.expect_page("dee", about=job)
    world.expect_nothing_else()


def test_a_person_who_is_named_and_covers_is_notified_once(world):
    team = world.team("Database", primary=["ana", "cy"])
    away(world, "ana", "cy")
    job = silent(world, recipient_groups=[team])
    world.expect_page("cy", about=job)
    world.expect_nothing_else()


def test_an_entry_for_one_group_leaves_the_others_alone(world):
    first, second = world.team("First", primary=["ana"]), world.team("Second", primary=["ana"])
    away(world, "ana", "cy", group=first)
    job = silent(world, recipient_groups=[second], recipients=["ana"])
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    other = world.heartbeat("other", every=minutes(0.1), recipient_groups=[first])
    world.listening = True
    world.advance(minutes(0.2))
    world.expect_page("cy", about=other)
    world.expect_nothing_else()


def test_it_begins_and_ends_with_its_times(world):
    away(world, "ana", "cy", starts_at=world.now + minutes(3), ends_at=world.now + minutes(8))
    policy = world.policy(steps=[{"role": "primary"}], repeats=2)
    team = world.team("Database", primary=["ana"])
    policy.roles.update(wait_minutes=5)
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.advance(minutes(5))
    world.expect_page("cy", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("ana", about=job)
    world.expect_nothing_else()


def test_a_cover_who_cannot_be_notified_does_not_make_the_page_vanish(world):
    away(world, "ana", "cy")
    world.person("cy").is_active = False
    world.person("cy").save()
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    world.expect_nothing_else()


def test_covers_in_a_circle_still_reach_somebody(world):
    from escalation.models.on_call import OutOfOffice

    entry = away(world, "ana", "cy")
    OutOfOffice.objects.create(
        user=world.person("cy"), cover=world.person("ana"), starts_at=entry.starts_at, ends_at=entry.ends_at
    )
    job = silent(world, recipients=["ana"])
    world.expect_page("cy", about=job)
    world.expect_nothing_else()


# -- reminders --------------------------------------------------------------------------------------------------------
def remind(world):
    from escalation.notifications.notices.on_call_reminders import remind_before_shifts

    remind_before_shifts(now=world.now)
    world.beat()


def test_who_wishes_it_is_reminded_once_before_each_on_call_shift(world):
    from decimal import Decimal

    from escalation.notifications.notices.on_call_reminders import set_reminder

    team = world.team("Database", primary=["ana", "bob"])
    ana, bob = people(world, "ana", "bob")
    make_rotation(team, primary=[ana, bob], rotates_every="day", first="2026-03-01", at="13:00")  # Bob from 13:00 on
    set_reminder(bob, hours=Decimal("0.5"))
    remind(world)  # an hour before
    world.expect_nothing_else()
    world.advance(minutes(30))
    for _ in range(3):
        remind(world)
    message = world.expect_mail("bob", saying="You are on call for Database from Mon 2 Mar 2026, 13:00:00 UTC")
    assert "as Primary" in message.body
    world.expect_nothing_else()
    world.advance(minutes(48 * 60))
    remind(world)
    world.expect_mail("bob", saying="from Wed 4 Mar 2026, 13:00:00 UTC")
    set_reminder(bob, hours=None)
    world.advance(minutes(48 * 60))
    remind(world)
    world.expect_nothing_else()


def rotating(world, *names):
    """The first of these has been on call since yesterday; the next takes over at 13:00, each for a day."""
    team = world.team("Database", primary=names)
    make_rotation(team, primary=people(world, *names), rotates_every="day", first="2026-03-01", at="13:00")


def wish(world, *names):
    from decimal import Decimal

    from escalation.notifications.notices.on_call_reminders import set_reminder

    for person in people(world, *names):
        set_reminder(person, hours=Decimal(1))


def test_the_cover_is_reminded_of_a_turn_and_not_who_is_out(world):
    rotating(world, "ana", "bob")
    away(world, "bob", "cy", ends_at=world.now + minutes(24 * 60))
    wish(world, "bob", "cy")
    for _ in range(2):
        remind(world)
    message = world.expect_mail("cy", saying="from Mon 2 Mar 2026, 13:00:00 UTC")
    assert message.subject.endswith("You are on call for Database from Mon 2 Mar 2026, 13:00:00 UTC, covering for Bob")
    assert "UTC, covering for Bob. The shift is “Shift 1”." in " ".join(message.body.split())
    world.expect_nothing_else()


def test_a_turn_within_which_an_absence_begins_and_ends_begins_for_the_cover_and_again_for_its_person(world):
    rotating(world, "ana")
    away(world, "ana", "cy", starts_at=world.now + minutes(30), ends_at=world.now + minutes(240))
    wish(world, "ana", "cy")
    remind(world)
    message = world.expect_mail("cy", saying="from Mon 2 Mar 2026, 12:30:00 UTC")
    assert message.subject.endswith("UTC, covering for Ana")
    world.expect_nothing_else()
    world.advance(minutes(180))
    for _ in range(2):
        remind(world)
    message = world.expect_mail("ana", saying="from Mon 2 Mar 2026, 16:00:00 UTC")
    assert message.subject.endswith("16:00:00 UTC")
    world.expect_nothing_else()


def test_what_begins_together_is_one_reminder_that_names_all(world):
    team = world.team("Database", primary=["ana", "bob", "cy"])
    make_rotation(team, primary=people(world, "ana", "bob", "cy"), people_at_once=3, first="2026-03-01", at="13:00")
    for name in ("ana", "bob"):
        away(world, name, "dee", starts_at=world.now + minutes(30))
    away(world, "cy", "dee", starts_at=world.now + minutes(30), group=team)
    wish(world, "dee")
    remind(world)
    message = world.expect_mail("dee", saying="from Mon 2 Mar 2026, 12:30:00 UTC")
    assert message.subject.endswith(", covering for Ana and Bob and Cy")
    world.expect_nothing_else()


def test_an_on_call_shift_of_ones_own_that_begins_with_that_of_another_says_so(world):
    team = world.team("Database", primary=["ana", "bob"])
    begins = world.now + minutes(30)
    make_shift(team, primary=people(world, "ana", "bob"), starts_at=begins, ends_at=begins + minutes(60))
    team.members.all().update(role="manager")
    away(world, "ana", "bob", ends_at=world.now + minutes(180))
    wish(world, "bob")
    remind(world)
    message = world.expect_mail("bob", saying="from Mon 2 Mar 2026, 12:30:00 UTC")
    assert message.subject.endswith("UTC, also covering for Ana")
    world.expect_nothing_else()


# -- who is on call where somebody is not there
# -------------------------------------------------------------------------
def test_a_shift_in_which_nobody_can_be_reached_does_not_hide_the_shift_below_it(world):
    team = world.team("Database", primary=["ana", "ben"])
    make_shift(team, primary=people(world, "ben"), name="Always")
    make_shift(team, primary=people(world, "ana"), name="Days", windows=[(WEEKDAYS, "08:00", "17:00")])
    leave(world, "ana")
    job = silent(world, recipient_groups=[team])  # Monday noon
    world.expect_page("ben", about=job)
    world.expect_nothing_else()


@pytest.mark.parametrize("why", ["a stakeholder", "without a role", "without a contact method", "with one that fails"])
def test_nor_does_one_of_people_who_cannot_answer_or_be_notified(world, why):
    if why == "a stakeholder":
        world.person("ana", kind="stakeholder")
    team = world.team("Database", primary=["ana", "ben"])
    if why == "without a role":
        world.person("ana").roles.clear()
    if why == "without a contact method":
        world.person("ana").contact_methods.all().delete()
    if why == "with one that fails":
        world.person("ana").contact_methods.update(failing_since=world.now, failed_at=world.now)
    make_shift(team, primary=people(world, "ben"), name="Always")
    make_shift(team, primary=people(world, "ana"), starts_at=world.now, ends_at=world.now + minutes(600), name="Days")
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(steps=[{"role": "primary"}]))
    world.expect_page("ben", about=job)
    world.expect_nothing_else()


def test_the_cover_of_somebody_who_was_deactivated_stands_in_on_a_shift_as_in_the_member_list(world):
    team = world.team("Database", primary=["ana", "ben"])
    make_shift(team, primary=people(world, "ben"), name="Always")
    make_shift(team, primary=people(world, "ana"), starts_at=world.now, ends_at=world.now + minutes(600), name="Days")
    away(world, "ana", "cy")
    leave(world, "ana")
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(steps=[{"role": "primary"}]))
    world.expect_page("cy", about=job)
    world.expect_nothing_else()


def test_an_override_of_a_week_wins_over_daily_windows(world):
    team = world.team("Database", primary=["ana", "ben"])
    make_shift(team, primary=people(world, "ana"), name="Days", windows=[(WEEKDAYS, "08:00", "17:00")])
    make_shift(
        team,
        primary=people(world, "ben"),
        name="Stand-in",
        is_override=True,
        starts_at=world.now - minutes(60),
        ends_at=world.now + minutes(7 * 24 * 60),
    )
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(steps=[{"role": "primary"}]))
    world.expect_page("ben", about=job)
    world.expect_nothing_else()


def test_an_override_without_an_end_does_not_make_a_rota_out_of_the_member_list(world):
    team = world.team("Database", primary=["ana", "ben"])
    make_shift(
        team, primary=people(world, "ben"), is_override=True, windows=[(["sunday"], "08:00", "17:00")], name="Sundays"
    )
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(steps=[{"role": "primary"}]))
    world.expect_page("ana", about=job)
    world.expect_page("ben", about=job)
    world.expect_nothing_else()


def test_when_somebody_joins_a_rotation_the_person_whose_turn_it_is_is_paged_all_the_same(world):
    team = world.team("Database", primary=["ana", "ben", "cem"])
    admin = world.person("adam", roles=["App Admin"])
    shift = make_rotation(team, primary=people(world, "ana", "ben"), first="2026-02-23")
    named = [PersonRule(user=person.pk) for person in people(world, "ana", "ben", "cem")]
    update_shift(shift, actor=admin, now=world.now, people=named)
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(steps=[{"role": "primary"}]))
    world.expect_page("ben", about=job)
    world.expect_nothing_else()


def leave(world, name):
    person = world.person(name)
    person.is_active = False
    person.save(update_fields=["is_active"])
