"""Only people who can answer, and are notified in time, count as reached (domain: who is paged, and when)."""

from itertools import product

import pytest

from accounts.entitlements import BuiltinRole, Entitlement
from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import GroupMember
from accounts.models.users import Role
from alerting.models.alerts import AlertRecipient
from alerting.selectors import may_answer
from escalation.models.notifications import Notification
from escalation.models.on_call import OutOfOffice
from escalation.policies.plays import TierRule, create_play
from integrations.coverage.who_is_notified import current_coverage_gaps, who_would_be_notified
from tests.stories.test_escalation_policy import silent, timeline
from tests.stories.test_responding import link_in, press
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db

PEOPLE = {
    **{role.value: {"roles": [role.value]} for role in BuiltinRole if role is not BuiltinRole.OWNER},
    **{f"only {right.value}": {"right": right} for right in Entitlement},
    "no role": {"roles": []},
    "stakeholder": {"kind": "stakeholder"},
    "stakeholder who administers": {"kind": "stakeholder", "roles": ["App Admin"]},
    "deactivated": {"is_active": False},
    "unverified": {"unverified": True},
}
WAYS = (
    "named directly",
    "in a group",
    "in a group within",
    "in a tier",
    "in a group of a tier",
    "as cover",
    "as group contact",
)


@pytest.fixture
def clock_of(world, monkeypatch):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: world.now)


@pytest.fixture
def owner(world):
    return world.person("olga", roles=["Owner"])


def somebody(world, *, right=None, unverified=False, roles=("Basic",), **fields):
    """Return Pat, with these rights and nothing else."""
    pat = world.person("pat", roles=roles, **fields)
    if right is not None:
        role = Role.objects.create(organization=world.organization, name="One right", entitlements=[right.value])
        pat.roles.set([role])
    if unverified:
        # Everybody has a verified Email-Official; only somebody whose own method is another one can be without.
        ContactMethod.objects.filter(user=pat).delete()
        ContactMethod.objects.create(user=pat, kind="email", label="Private", address="pat@private.example.com")
    return pat


def recipients(world, pat, way):
    """Return the fields of a heartbeat whose alert can go to nobody but Pat, in this way."""
    nobody = world.person("nobody", is_active=False)
    if way == "named directly":
        return {"recipient_users": [pat]}
    if way in {"in a group", "in a group within"}:
        team = world.team("Database", primary=["pat"])
        if way == "in a group within":
            outer = world.team("Everything")
            outer.nestings.create(child=team)
            team = outer
        return {"recipient_groups": [team]}
    if way in {"in a tier", "in a group of a tier"}:
        groups = [world.team("Database", primary=["pat"])] if way == "in a group of a tier" else []
        tier = TierRule(offset_minutes=0, users=[] if groups else [pat], groups=groups)
        play = create_play(world.organization, name="Play", tiers=[tier])
        return {"response_play": play, "escalation_policy": None}
    if way == "as cover":
        OutOfOffice.objects.create(
            user=nobody, cover=pat, starts_at=world.now - minutes(60), ends_at=world.now + minutes(60)
        )
        return {"recipient_groups": [world.team("Database", primary=["nobody"])]}
    team = world.team("Database")
    world.share(team, "pat@example.com")
    return {"recipient_groups": [team]}


def heartbeat(world, fields):
    users = fields.pop("recipient_users", [])
    job = world.heartbeat("backup", every=minutes(5), recipients=[user.name.lower() for user in users], **fields)
    world.ping(job)
    return job


# Without `--long` each person in two or three of the seven ways, which come round.
CASES = [
    pytest.param(who, way, marks=[pytest.mark.long] if number % 3 else [])
    for number, (who, way) in enumerate(product(PEOPLE, WAYS))
]


@pytest.mark.parametrize(("who", "way"), CASES)
def test_whoever_counts_may_press_the_buttons_of_the_message_and_nobody_else(world, client, clock_of, owner, who, way):
    pat = somebody(world, **PEOPLE[who])
    job = heartbeat(world, recipients(world, pat, way))
    previewed = who_would_be_notified(job, at=world.now + minutes(5))
    listed = job.pk in current_coverage_gaps(world.organization, at=world.now + minutes(5))
    world.advance(minutes(5))
    world.advance(seconds(1))
    alert = world.alert(job)
    counts = alert.run.last_resort_at is None
    assert counts == (not previewed.instead) == (not listed) == (previewed.first_notified_at is not None)
    page = Notification.objects.filter(alert=alert, kind="page", user=pat).first()
    pressed = False
    if page is not None and page.status == "accepted":
        mail = world.expect_page("pat", about=job)
        has_buttons = "/r/" in mail.body
        assert has_buttons == may_answer(pat)
        from escalation.responses import tokens

        press(client, tokens.page_url(page.message_id).removeprefix("http://127.0.0.1:8000"), "assign")
        pressed = world.alert(job).owner == pat
    assert counts == pressed
    if not counts:
        world.expect_mail("olga", saying="Nobody was reached", about=job)
        if who == "App Admin":  # of the last resort, which goes first: as of a Critical alert
            world.expect_mail("pat", saying="Nobody was reached", about=job)
    if way == "as group contact":
        world.expect_page("pat", about=job)
    world.expect_nothing_else()


def test_a_method_that_is_used_in_a_month_hides_nobody(world, owner):
    """The walk goes on at once, and the person is still notified when the delay is over."""
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    ContactMethod.objects.filter(user=world.person("ana")).update(delay_minutes=44_640)
    job = silent(world, recipient_groups=[team])
    world.expect_page("sam", about=job)
    world.expect_nothing_else()
    assert ("skipped", "Primary of Database: nobody can be reached. Going on to Secondary of Database at once.") in (
        timeline(world, job)
    )


@pytest.mark.parametrize("delay", [0.1, 10, 44_640])
def test_a_delay_with_nobody_after_it_leads_to_the_last_resort(world, owner, delay):
    ContactMethod.objects.filter(user=world.person("ana")).update(delay_minutes=delay)
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    previewed = who_would_be_notified(job, at=world.now + minutes(5))
    assert [problem.code for problem in previewed.problems] == ["nobody_reachable", "too_late"]
    assert (previewed.instead, previewed.first_notified_at) == ([owner], None)
    assert job.pk in current_coverage_gaps(world.organization, at=world.now)
    world.advance(minutes(5))
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.expect_nothing_else()


def test_a_delay_counts_that_ends_before_the_next_stage(world, owner):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    ContactMethod.objects.filter(user=world.person("ana")).update(delay_minutes=4)
    policy = world.policy(steps=[{"role": "primary"}, {"role": "secondary", "wait_minutes": 5}])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    previewed = who_would_be_notified(job, at=world.now)
    assert (previewed.first_notified_at, previewed.problems) == (world.now + minutes(4), [])
    world.expect_nothing_else()
    world.advance(minutes(4))
    world.expect_page("ana", about=job)
    world.advance(minutes(1))
    world.expect_page("sam", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_in_turn_nobody_waits_for_a_person_who_is_notified_too_late(world, owner):
    team = world.team("Database", primary=["ana", "ben", "cem"])
    ContactMethod.objects.filter(user=world.person("ana")).update(delay_minutes=30)
    policy = world.policy(steps=[{"role": "primary", "between_members_minutes": 5}])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ben", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("cem", about=job)
    world.expect_nothing_else()
    world.advance(minutes(25))
    world.expect_page("ana", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_a_viewer_beside_people_who_answer_is_notified_and_nobody_waits_for_them(world, owner):
    bill = world.person("bill", roles=["Billing Admin"])
    team = world.team("Database", primary=["bill"], secondary=["sam"])
    job = silent(world, recipient_groups=[team])
    assert "/r/" not in world.expect_page("bill", about=job).body
    world.expect_page("sam", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert [problem.code for problem in who_would_be_notified(job, at=world.now).problems] == [
        "nobody_reachable",
        "nobody_there",
        "cannot_answer",
    ]
    assert AlertRecipient.objects.filter(alert=world.alert(job), user=bill).exists()


def test_retries_of_people_who_cannot_answer_do_not_put_off_the_last_resort(world, owner):
    world.person("bill", roles=["Billing Admin"])
    policy = world.policy(steps=[{"role": "primary", "retries": 5, "retry_interval_minutes": 5}], repeats=3)
    job = silent(world, recipients=["bill"], escalation_policy=policy)
    world.expect_page("bill", about=job)
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.advance(minutes(120))
    world.expect_nothing_else()


def leave_by_deactivation(world, ana):
    ana.is_active = False
    ana.save()


def leave_the_group(world, ana):
    GroupMember.objects.filter(user=ana).delete()


def lose_the_right(world, ana):
    ana.roles.clear()


def become_a_stakeholder(world, ana):
    ana.kind = "stakeholder"
    ana.save()


LEAVINGS = [leave_by_deactivation, leave_the_group, lose_the_right, become_a_stakeholder]


@pytest.mark.parametrize("leave", LEAVINGS)
def test_when_everybody_who_was_notified_has_left_the_owners_are_notified(world, owner, leave):
    team = world.team("Database", primary=["ana"])
    policy = world.policy(steps=[{"role": "primary", "retries": 5, "retry_interval_minutes": 5}])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    leave(world, world.person("ana"))
    world.advance(minutes(1))
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert ("last_resort", "Nobody who was notified can answer any more. Notifying Olga instead.") in (
        timeline(world, job)
    )


@pytest.mark.parametrize("leave", LEAVINGS)
def test_when_everybody_who_was_notified_has_left_the_next_stage_comes_at_once(world, owner, leave):
    team = world.team("Database", primary=["ana"], managers=["mia"])
    policy = world.policy(steps=[{"role": "primary"}, {"role": "manager", "wait_minutes": 30}])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    leave(world, world.person("ana"))
    world.advance(minutes(1))
    world.expect_page("mia", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert ("skipped", "Nobody who was notified can answer any more. Going on at once.") in timeline(world, job)


@pytest.mark.parametrize("leave", [leave_by_deactivation, lose_the_right, become_a_stakeholder])
def test_when_the_owner_of_an_alert_has_left_it_is_open_again_and_the_walk_goes_on(world, owner, leave):
    from alerting.states import Action
    from alerting.via import CONSOLE
    from escalation.responses.act import act

    team = world.team("Database", primary=["ana"], managers=["mia"])
    policy = world.policy(steps=[{"role": "primary"}, {"role": "manager", "wait_minutes": 30}])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    act(world.alert(job), Action.ASSIGN, via=CONSOLE, actor=world.person("ana"), now=world.now)
    world.advance(minutes(10))
    world.expect_nothing_else()
    leave(world, world.person("ana"))
    world.advance(minutes(2))
    world.expect_page("mia", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert world.alert(job).status == "open"
    assert any("Open again: Ana, who had it, cannot answer any more." in text for _, text in timeline(world, job))


def test_while_one_of_the_notified_is_still_there_the_walk_keeps_its_times(world, owner):
    team = world.team("Database", primary=["ana", "ben"], managers=["mia"])
    policy = world.policy(steps=[{"role": "primary"}, {"role": "manager", "wait_minutes": 30}])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    world.expect_page("ben", about=job)
    leave_by_deactivation(world, world.person("ana"))
    world.advance(minutes(29))
    world.expect_nothing_else()
    world.advance(minutes(1))
    world.expect_page("mia", about=job)
    world.expect_nothing_else()


def test_a_cover_whose_time_is_over_still_counts(world, owner):
    team = world.team("Database", primary=["ana"])
    OutOfOffice.objects.create(
        user=world.person("ana"),
        cover=world.person("ben"),
        starts_at=world.now - minutes(60),
        ends_at=world.now + minutes(10),
    )
    job = silent(world, recipient_groups=[team])
    world.expect_page("ben", about=job)
    world.advance(minutes(60))
    world.expect_page("ana", about=job)  # back in office, and never notified of it
    world.expect_nothing_else()


def test_a_taken_alert_is_no_longer_about_who_was_notified(world, owner):
    from alerting.services.alerts import assign

    team = world.team("Database", primary=["ana"])
    ben = world.person("ben")
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    assign(world.alert(job), actor=ben, to=ben, now=world.now)
    leave_by_deactivation(world, world.person("ana"))
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_the_last_resort_uses_the_owners_own_methods_without_their_delays(world, owner):
    ContactMethod.objects.create(
        user=owner,
        kind="email",
        label="Loud",
        address="loud@example.com",
        delay_minutes=30,
        repeat_count=1,
        repeat_gap_minutes=2,
        verified_at=world.now,
    )
    ContactMethod.objects.create(user=owner, kind="email", label="New", address="new@example.com")
    ContactMethod.objects.create(
        user=owner, kind="email", label="Off", address="off@example.com", verified_at=world.now, enabled=False
    )
    ContactMethod.objects.create(
        user=owner,
        kind="email",
        label="Sundays",
        address="sunday@example.com",
        verified_at=world.now,
        windows=[{"days": ["sunday"], "starts": "00:00", "ends": "24:00"}],
    )
    job = silent(world)
    mail = world.expect_mail("olga", saying="Nobody was reached", about=job)
    assert (
        "Nobody was reached. Take it, or call somebody; then name a group or a person\nwho can be reached." in mail.body
    )
    world.expect_mail("olga", saying="Nobody was reached", about=job, address="loud@example.com")
    world.expect_nothing_else()
    world.advance(minutes(2))
    world.expect_mail("olga", saying="Nobody was reached", about=job, address="loud@example.com")
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_many_last_resorts_at_once_come_in_one_message(world, owner):
    world.bundle(seconds(5))
    jobs = [world.heartbeat(f"job {number}", every=minutes(5)) for number in range(4)]
    world.advance(minutes(5))
    world.expect_mail("olga", saying="Nobody was reached")
    world.advance(seconds(6))
    message = world.expect_mail("olga", saying="3 alerts reached nobody")
    assert message.subject.startswith("High: [Nobody was reached] ")
    assert len(jobs) == 4
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_the_link_of_the_mail_is_the_one_whose_button_works(world, client, clock_of, owner):
    job = silent(world, recipients=["ana"])
    press(client, link_in(world.expect_page("ana", about=job)), "assign")
    assert world.alert(job).owner == world.person("ana")
    world.expect_nothing_else()
