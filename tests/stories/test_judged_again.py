"""A delayed or repeated message is judged again when it is sent.

Its reader may not want it, or not be there any more.
"""

import pytest

from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import GroupMember
from accounts.services.opt_outs import opt_out
from escalation.models.notifications import Notification
from escalation.notifications import deliver
from escalation.notifications.claim import claim
from escalation.notifications.judge_again import judge_again
from tests.factories.shifts import make_absence, make_rotation
from tests.integration.escalation.channels.conftest import loopback_is_allowed, make_provider, twilio  # noqa: F401 - fixtures
from tests.stories.test_escalation_policy import silent, timeline
from tests.world import World, minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]
PHONE = "+4915112345678"


def late_method(world: World, who: str, *, after: float = 3, **fields) -> ContactMethod:
    """Give somebody a second address that is used some minutes later."""
    fields = {"label": "Email-Home", "address": f"{who}@home.example.com", "verified_at": world.now, **fields}
    return world.person(who).contact_methods.create(delay_minutes=after, position=1, **fields)


def only_late(world: World, who: str, *, after: float = 3, **fields) -> ContactMethod:
    """Let somebody be notified by nothing but a second address, some minutes later."""
    official = world.person(who).contact_methods.get(label="Email-Official")
    ContactMethod.objects.filter(pk=official.pk).update(delay_minutes=900)
    return late_method(world, who, after=after, **fields)


def switch_off(world, method, team, job):
    ContactMethod.objects.filter(pk=method.pk).update(enabled=False)
    return "Ana has switched it off since"


def narrow(world, method, team, job):
    windows = [{"days": ["monday"], "starts": "02:00", "ends": "03:00", "days_later": 0}]
    ContactMethod.objects.filter(pk=method.pk).update(windows=windows)
    return "it is outside the hours in which Ana uses it"


def unwilling(world, method, team, job):
    opt_out(method.user, integration_id=job.pk, now=world.now)
    return "Ana does not want to be notified about this any more"


def leave(world, method, team, job):
    GroupMember.objects.filter(group=team, user=method.user).delete()
    return "Ana is in no group any more that it is for"


MEANWHILE = {"switched off": switch_off, "hours narrowed": narrow, "opted out": unwilling, "left": leave}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_delayed_message_is_not_sent_when_it_is_not_wanted_any_more(world: World, meanwhile):
    team = world.team("Database", primary=["ana", "bob"], secondary=["sam"])
    method = late_method(world, "ana", repeat_count=1, repeat_gap_minutes=1)
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.expect_page("bob", about=job)
    why = MEANWHILE[meanwhile](world, method, team, job)

    world.advance(minutes(4.5))
    world.expect_nothing_else()
    said = ("notified", f"E-mail to Ana (Email-Home): not sent, because {why}")
    assert timeline(world, job).count(said) == 2  # for its one repeat, too
    late = world.alert(job).notifications.filter(contact_method=method)
    assert set(late.values_list("status", "attempts")) == {("superseded", 0)}
    world.advance(minutes(1))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_a_call_is_not_made_over_a_method_that_was_switched_off(world: World, twilio):  # noqa: F811
    method = late_method(world, "ana", label="Voice-Personal", kind="voice", address=PHONE)
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    ContactMethod.objects.filter(pk=method.pk).update(enabled=False)
    world.advance(minutes(4))
    assert twilio.requests == []
    said = "Call to Ana (Voice-Personal): not sent, because Ana has switched it off since"
    assert ("notified", said) in timeline(world, job)
    world.expect_nothing_else()


def test_hours_that_cannot_be_read_keep_nobodys_messages_back(world: World):
    method = late_method(world, "ana")
    late_method(world, "bob")
    job = silent(world, recipients=["ana", "bob"])
    world.expect_page("ana", about=job)
    world.expect_page("bob", about=job)
    # As a process of the version before writes them beside a new one.
    written_before = [{"days": ["mon"], "from": "02:00", "to": "03:00"}]
    ContactMethod.objects.filter(pk=method.pk).update(windows=written_before)
    world.advance(minutes(4))
    for who in ("ana", "bob"):
        world.expect_page(who, about=job, address=f"{who}@home.example.com")
    world.listening = True
    other = world.heartbeat("other", every=minutes(1), recipients=["ana", "bob"])
    world.advance(minutes(1))
    for who in ("ana", "bob"):
        world.expect_page(who, about=other)
    world.expect_nothing_else()


def test_whose_page_was_put_away_hears_of_no_recovery(world: World):
    only_late(world, "ana")
    job = silent(world, recipients=["ana"])
    world.listening = True
    world.advance(minutes(3) - seconds(1))
    opt_out(world.person("ana"), integration_id=job.pk, now=world.now)
    world.now += seconds(1)
    claimed = claim("email", due_by=world.now, now=world.now, limit=50)
    world.ping(job)
    world.work("detector")
    assert world.alert(job).close_reason == "closed by heartbeat"
    assert Notification.objects.filter(alert=world.alert(job), kind="recovery").count() == 1
    assert judge_again(claimed, now=world.now).messages == []
    world.advance(minutes(5) - seconds(1))
    world.expect_nothing_else()


def test_what_is_still_wanted_is_sent(world: World):
    team = world.team("Database", primary=["ana"])
    late_method(world, "ana", repeat_count=1, repeat_gap_minutes=1)
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.advance(minutes(4.5))
    for _ in range(2):
        world.expect_page("ana", about=job, address="ana@home.example.com")
    world.expect_nothing_else()


@pytest.mark.parametrize("meanwhile", ["switched off", "hours narrowed", "opted out"])
def test_where_it_was_the_only_message_the_next_step_comes_at_once(world: World, meanwhile):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    method = only_late(world, "ana")
    job = silent(world, recipient_groups=[team])
    world.expect_nothing_else()
    MEANWHILE[meanwhile](world, method, team, job)
    world.advance(minutes(3) - seconds(2))
    world.expect_nothing_else()
    world.advance(seconds(3))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()
    assert ("skipped", "Nobody is left who was to be notified in this step. Going on at once.") in timeline(world, job)


def test_where_no_step_is_left_the_owners_are_notified(world: World):
    world.person("olga", roles=["Owner"])
    method = only_late(world, "ana")
    policy = world.policy(steps=[{"role": "primary", "retries": 1, "retry_interval_minutes": 10}])
    job = silent(world, recipients=["ana"], escalation_policy=policy)
    ContactMethod.objects.filter(pk=method.pk).update(enabled=False)
    world.advance(minutes(3))
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.expect_nothing_else()


def test_going_out_of_office_moves_what_is_still_to_come_to_the_cover_at_once(world: World):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    late_method(world, "ana", repeat_count=1, repeat_gap_minutes=1)
    late_method(world, "ben", after=2)
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.advance(minutes(1))
    make_absence(world.person("ana"), cover=world.person("ben"), starts_at=world.now, ends_at=world.now + minutes(90))
    world.advance(seconds(1))
    world.expect_page("ben", about=job)
    world.expect_nothing_else()
    said = "Ben is notified for Ana, out of office until Mon 2 Mar 2026, 13:31:06 UTC."
    assert timeline(world, job).count(("notified", said)) == 1
    step = set(world.alert(job).notifications.filter(user=world.person("ben")).values_list("step", flat=True))
    assert step == {1}
    world.advance(minutes(2))
    world.expect_page("ben", about=job, address="ben@home.example.com")
    world.advance(minutes(1.5))
    world.expect_nothing_else()
    world.advance(minutes(0.5))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_a_cover_who_is_out_too_is_followed_on(world: World):
    team = world.team("Database", primary=["ana"])
    late_method(world, "ana")
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    until = world.now + minutes(90)
    make_absence(world.person("ben"), cover=world.person("cy"), starts_at=world.now, ends_at=until)
    make_absence(world.person("ana"), cover=world.person("ben"), starts_at=world.now, ends_at=until)
    world.advance(minutes(4))
    world.expect_page("cy", about=job)
    world.expect_nothing_else()


def test_an_absence_in_another_group_changes_nothing(world: World):
    team, other = world.team("Database", primary=["ana"]), world.team("Network", primary=["ana"])
    late_method(world, "ana")
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    ana, ben = world.person("ana"), world.person("ben")
    make_absence(ana, cover=ben, starts_at=world.now, ends_at=world.now + minutes(90), group=other)
    world.advance(minutes(4))
    world.expect_page("ana", about=job, address="ana@home.example.com")
    world.expect_nothing_else()


def test_who_was_named_is_in_no_group_and_still_notified(world: World):
    late_method(world, "ana")
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    world.advance(minutes(4))
    world.expect_page("ana", about=job, address="ana@home.example.com")
    world.expect_nothing_else()


def test_a_hand_off_in_between_takes_nothing_away(world: World):
    team = world.team("Database", primary=["ana", "bob"])
    make_rotation(
        team, primary=[world.person("ana"), world.person("bob")], rotates_every="day", first="2026-03-01", at="12:03"
    )
    late_method(world, "ana")
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.advance(minutes(4))
    world.expect_page("bob", about=job)  # who came on call
    world.expect_page("ana", about=job, address="ana@home.example.com")
    world.expect_nothing_else()


def test_an_absence_that_ends_before_it_is_sent_takes_nothing_away(world: World):
    team = world.team("Database", primary=["ana"])
    late_method(world, "ben")
    until = world.now + minutes(1)
    make_absence(world.person("ana"), cover=world.person("ben"), starts_at=world.now, ends_at=until)
    job = silent(world, recipient_groups=[team])
    world.expect_page("ben", about=job)
    world.advance(minutes(4))
    world.expect_page("ana", about=job)  # who can be notified again
    world.expect_page("ben", about=job, address="ben@home.example.com")
    world.expect_nothing_else()


def test_a_centralized_policy_asks_nobody_what_they_prefer(world: World):
    policy = world.policy(
        notify_using="centralized",
        steps=[{"role": "primary", "contact_labels": ["Email-Home"]}, {"role": "secondary", "wait_minutes": 30}],
    )
    team = world.team("Database", primary=["ana"])
    method = late_method(world, "ana")
    world.away.add("delivery")
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    ContactMethod.objects.filter(pk=method.pk).update(enabled=False)
    world.advance(minutes(1))
    world.away.clear()
    world.advance(seconds(1))
    world.expect_page("ana", about=job, address="ana@home.example.com")
    world.expect_nothing_else()


def test_a_removed_method_fails_and_the_next_one_is_used_at_once(world: World):
    method = late_method(world, "ana")
    late_method(world, "ana", after=9, label="Email-Other", address="ana@other.example.com")
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    method.delete()
    world.advance(minutes(4))
    world.expect_page("ana", about=job, address="ana@other.example.com")
    world.expect_nothing_else()


def test_of_a_bundle_only_what_is_not_wanted_is_left_out(world: World):
    world.bundle(seconds(5))
    late_method(world, "ana")
    jobs = [world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"]) for number in range(4)]
    world.advance(minutes(5) + seconds(6))
    world.expect_page("ana", about=jobs[0])
    world.expect_bundle("ana", about=jobs[1:])
    opt_out(world.person("ana"), integration_id=jobs[2].pk, now=world.now)
    world.advance(minutes(3.5))
    pages = [world.expect_mail("ana", saying="", address="ana@home.example.com") for _ in range(2)]
    assert "job 0 is silent" in pages[0].subject
    numbers = [world.alert(job).pk for job in (jobs[1], jobs[3])]
    assert pages[1].subject == f"High: [Open] 2 alerts: #{numbers[0]} job 1, #{numbers[1]} job 3"
    world.expect_nothing_else()
    assert Notification.objects.filter(alert=world.alert(jobs[2]), status="superseded").count() == 1


def test_judging_costs_the_same_number_of_queries_however_much_it_is(world: World, django_assert_max_num_queries):
    team = world.team("Database", primary=["ana", "bob", "cy", "dan"])
    for who in ("ana", "bob", "cy", "dan"):
        late_method(world, who)
    for number in range(5):
        world.heartbeat(f"job {number}", every=minutes(5), recipient_groups=[team])
    world.advance(minutes(5))
    assert len(world.unread()) == 20
    ContactMethod.objects.filter(label="Email-Home").update(enabled=False)
    claimed = claim("email", due_by=world.now + minutes(3), now=world.now + minutes(3), limit=50)
    assert len(claimed.messages) == 20
    with django_assert_max_num_queries(40):
        assert judge_again(claimed, now=world.now + minutes(3)).messages == []
    assert Notification.objects.filter(status="superseded").count() == 20


def test_what_cannot_be_judged_again_is_sent(world: World, monkeypatch):
    def fail(*_, **__):
        raise KeyError("from")

    late_method(world, "ana")
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    monkeypatch.setattr(deliver, "judge_again", fail)
    world.advance(minutes(4))
    world.expect_page("ana", about=job, address="ana@home.example.com")
    world.expect_nothing_else()
