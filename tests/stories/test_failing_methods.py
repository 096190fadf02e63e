"""A contact method whose address is refused is used last, reaches nobody, and somebody hears of it (domain: 7)."""

from datetime import timedelta

import pytest

from accounts.models.contact_methods import ContactMethod
from accounts.selectors import failing_methods
from escalation.notifications.notices.failing_methods import notify_of_failing
from integrations.coverage.who_is_notified import current_coverage_gaps, who_would_be_notified
from tests.stories.test_escalation_policy import silent, timeline
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db

# A round that took more than a second of the machine's time writes what follows in its own next second.
SENT = seconds(3)
GONE = (550, b"5.1.1 no such user")


@pytest.fixture
def refusals(mailbox):
    """What the mail server answers to which address."""
    return mailbox.refusals


@pytest.fixture
def owner(world):
    return world.person("olga", roles=["Owner"])


def personal(world, name="ana", *, delay_minutes=0, official_after=10, **fields):
    """Give somebody a second address that is used first; Email-Official comes minutes later."""
    person = world.person(name)
    person.contact_methods.update(delay_minutes=official_after, position=1)
    return ContactMethod.objects.create(
        user=person,
        label="Email-Personal",
        address=f"{name}@home.example.com",
        verified_at=world.now,
        delay_minutes=delay_minutes,
        **fields,
    )


def another_silence(world, job):
    """Let the job ping and fall silent again."""
    world.listening = True
    world.ping(job)
    world.advance(minutes(0.1))
    world.listening = False


def state(method):
    method.refresh_from_db()
    return method.failing_since, method.failures


def test_a_refused_address_is_marked_its_owner_notified_over_another_and_the_next_alert_goes_there_first(
    world, refusals, owner
):
    method = personal(world)
    refusals[method.address] = GONE
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)  # over Email-Official, at once
    world.expect_nothing_else()
    marked_at = world.now
    assert state(method) == (marked_at, 1)
    assert (method.failing_reason, method.verified_at is not None) == ("550 5.1.1 no such user", True)
    assert list(failing_methods(world.organization)) == [method]

    world.advance(minutes(1))
    said = world.expect_mail("ana", saying="Alerts do not reach you over Email-Personal")
    assert "Email-Personal (ana@home.example.com) has refused messages since" in said.body
    assert "550 5.1.1 no such user" in said.body
    assert "/profile/contact-methods/" in said.body
    world.advance(minutes(30))
    world.expect_nothing_else()

    another_silence(world, job)
    world.expect_recovery("ana", about=job)
    page = world.expect_page("ana", about=job)
    assert page.to == ["ana@example.com"]
    sent = world.alert(job).notifications.filter(kind="page").order_by("created_at")
    assert {row.label: (row.status, row.attempts) for row in sent} == {
        "Email-Official": ("accepted", 1),  # not ten minutes later
        "Email-Personal": ("failed", 1),  # still tried
    }
    assert state(method) == (marked_at, 2)
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_while_it_is_refused_the_next_alert_uses_the_others_first_and_it_after_them(world, refusals, owner):
    method = personal(world, official_after=3)
    ContactMethod.objects.create(
        user=world.person("ana"),
        label="Email-Third",
        address="ana@third.example.com",
        verified_at=world.now,
        delay_minutes=8,
        position=2,
    )
    ContactMethod.objects.filter(pk=method.pk).update(failing_since=world.now, failed_at=world.now, failures=1)
    job = silent(world, recipients=["ana"])
    began = world.alert(job).opened_at
    world.expect_page("ana", about=job)
    previewed = who_would_be_notified(job, at=began).steps[0].notifications
    assert sorted((notification.label, notification.at - began) for notification in previewed) == [
        ("Email-Official", minutes(0)),
        ("Email-Personal", minutes(5)),
        ("Email-Third", minutes(5)),
    ]
    world.advance(minutes(1))
    world.expect_mail("ana", saying="Alerts do not reach you over Email-Personal")
    world.expect_nothing_else()
    world.advance(minutes(4))
    world.expect_page("ana", about=job, address="ana@third.example.com")
    world.expect_page("ana", about=job, address="ana@home.example.com")
    world.expect_nothing_else()
    assert state(method) == (None, 0), "it was taken again"


def test_who_is_reached_by_what_fails_alone_does_not_count_and_is_notified_all_the_same(world, refusals, owner):
    refusals["ana@example.com"] = GONE
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    ana = world.person("ana").contact_methods.get()
    ContactMethod.objects.filter(pk=ana.pk).update(failing_since=world.now, failed_at=world.now, failures=1)
    refusals.clear()
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.expect_page("sam", about=job)  # at once, not in five minutes
    world.advance(minutes(30))
    world.expect_nothing_else()
    assert any("Primary of Database" in text for kind, text in timeline(world, job) if kind == "skipped")


def test_an_address_that_takes_messages_again_works_again(world, refusals, owner):
    method = personal(world)
    refusals[method.address] = GONE
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    world.advance(minutes(1))
    world.expect_mail("ana", saying="Alerts do not reach you")
    refusals.clear()
    another_silence(world, job)
    world.expect_recovery("ana", about=job)
    world.expect_page("ana", about=job)
    world.expect_page("ana", about=job, address=method.address)
    assert state(method) == (None, 0)
    another_silence(world, job)
    world.expect_mail("ana", saying="recovered", about=job, address=method.address)
    world.expect_page("ana", about=job, address=method.address)
    world.expect_nothing_else()


@pytest.mark.parametrize(
    "answer",
    [
        (550, b"5.7.1 rejected by policy"),
        (554, b"5.7.1 no such user, says the policy"),
        (550, b"5.1.8 <heartbeat@localhost>: Sender address rejected: Domain not found"),
        (550, b"5.1.7 bad return path"),
        (550, b"5.1.0 <heartbeat@localhost>: Sender address rejected: User unknown"),
        (552, b"5.2.2 mailbox full"),
        (550, b"5.2.1 mailbox disabled"),
        (550, b"go away"),
        (550, b"mailbox unavailable"),
        (452, b"4.2.2 mailbox full"),
        (450, b"4.1.1 no such user, come back later"),
    ],
)
def test_what_is_not_said_about_the_address_marks_nothing(world, refusals, owner, answer):
    method = personal(world)
    refusals[method.address] = answer
    job = silent(world, recipients=["ana"])
    world.advance(minutes(30))
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    assert state(method) == (None, 0)


@pytest.mark.parametrize(
    "answer",
    [
        (550, b"5.1.1 no such user"),
        (553, b"5.1.3 bad address syntax"),
        (550, b"#5.1.0 Address rejected."),
        (550, b"5.1.10 null MX"),
        (551, b"5.1.6 moved"),
        (550, b"5.1.1 <sender@home.example.com>: Recipient address rejected: User unknown"),
        (550, b"No such user here"),
        (550, b"ana@home.example.com: Recipient unknown"),
        (550, b"unknown user"),
        (550, b"The account does not exist"),
    ],
)
def test_what_is_said_about_the_address_marks_it(world, refusals, owner, answer):
    method = personal(world)
    refusals[method.address] = answer
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    assert state(method) == (world.now, 1)
    world.advance(minutes(1))
    world.expect_mail("ana", saying="Alerts do not reach you")
    world.expect_nothing_else()


def test_managers_are_notified_after_three_failures_and_once(world, refusals, owner):
    method = personal(world)
    world.team("Database", primary=["ana"], managers=["mia"])
    world.team("Billing", secondary=["ana"], managers=["mia", "ana"])
    refusals[method.address] = GONE
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    world.advance(minutes(2))
    world.expect_mail("ana", saying="Alerts do not reach you over Email-Personal")
    for _ in range(4):
        another_silence(world, job)
        world.expect_recovery("ana", about=job)
        world.expect_page("ana", about=job)
        world.advance(minutes(30))
        if state(method)[1] == 3:
            said = world.expect_mail("mia", saying="Alerts do not reach Ana")
            assert "Ana: Email-Personal (ana@home.example.com) has refused messages since" in said.body
        world.expect_nothing_else()
    assert method.failures == 5
    world.expect_nothing_else()


def test_who_has_no_other_method_is_known_to_the_managers_at_once(world, refusals, owner):
    refusals["ana@example.com"] = GONE
    world.team("Database", primary=["ana"], managers=["mia"])
    job = silent(world, recipients=["ana", "bob"])
    world.expect_page("bob", about=job)
    world.advance(minutes(1))
    world.expect_mail("mia", saying="Alerts do not reach Ana")
    world.advance(minutes(30))
    world.expect_nothing_else()
    official = world.person("ana").contact_methods.get()
    assert official.failing_since is not None
    assert official.enabled
    assert official.verified_at is not None


def test_of_what_a_group_shares_the_managers_hear_at_once(world, refusals, owner):
    team = world.team("Database", primary=["ana"], managers=["mia"])
    shared = world.share(team, "team@example.com")
    refusals[shared.address] = GONE
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    assert state(shared) == (world.now, 1)
    world.advance(minutes(1))
    said = world.expect_mail("mia", saying="Alerts do not reach Database")
    assert f"/groups/{team.pk}/" in said.body
    world.advance(minutes(1))
    world.expect_nothing_else()


def crowd(world, number):
    """Return so many people with a second address that is used first."""
    names = [f"p{place}" for place in range(number)]
    return names, [personal(world, name) for name in names]


def test_five_addresses_at_once_are_marked(world, refusals, owner):
    names, methods = crowd(world, 5)
    refusals.update({method.address: GONE for method in methods})
    job = silent(world, recipients=names)
    world.advance(SENT)
    for name in names:
        world.expect_page(name, about=job)
    world.advance(minutes(1))
    for name in names:
        world.expect_mail(name, saying="Alerts do not reach you over Email-Personal")
    world.expect_nothing_else()
    assert {state(method)[1] for method in methods} == {1}
    assert len(failing_methods(world.organization)) == 5


@pytest.mark.slow
def test_more_than_five_at_once_are_our_fault_which_owners_and_app_admins_hear_once(world, refusals, owner):
    world.person("adam", roles=["App Admin"])
    names, methods = crowd(world, 7)
    refusals.update({method.address: GONE for method in methods})
    job = silent(world, recipients=names)
    world.advance(SENT)
    for name in names:
        world.expect_page(name, about=job)
    for name in ("olga", "adam"):
        said = world.expect_mail(name, saying="more than 5 addresses refuse messages at once")
        assert "550 5.1.1 no such user" in said.body
    world.expect_nothing_else()
    assert {state(method) for method in methods} == {(None, 0)}
    assert not failing_methods(world.organization)

    world.advance(minutes(30))
    another_silence(world, job)  # the same incident
    world.advance(SENT)
    for name in names:
        world.expect_recovery(name, about=job)
        world.expect_page(name, about=job)
    world.advance(minutes(61))
    world.expect_nothing_else()
    another_silence(world, job)  # another one
    world.advance(SENT)
    for name in names:
        world.expect_recovery(name, about=job)
        world.expect_page(name, about=job)
    for name in ("olga", "adam"):
        world.expect_mail(name, saying="more than 5 addresses refuse messages at once")
    world.advance(minutes(5))
    world.expect_nothing_else()
    assert {state(method) for method in methods} == {(None, 0)}


def test_marks_of_the_last_ten_minutes_are_taken_back_when_it_turns_out_to_be_our_fault(world, refusals, owner):
    names, methods = crowd(world, 6)
    old = personal(world, "old")
    long_ago = world.now - timedelta(days=3)
    ContactMethod.objects.filter(pk=old.pk).update(
        failing_since=long_ago, failed_at=long_ago, failures=2, owner_notified_at=long_ago
    )
    refusals.update({method.address: GONE for method in [*methods, old]})
    jobs = []
    for name in names[:5]:
        jobs.append(world.heartbeat(f"job of {name}", every=minutes(0.1), recipients=[name, "old"]))
        world.ping(jobs[-1])
        world.advance(minutes(0.1))
        world.expect_page(name, about=jobs[-1])
        world.expect_page("old", about=jobs[-1])
    assert len(failing_methods(world.organization)) == 6
    last = world.heartbeat("last job", every=minutes(0.1), recipients=[names[5]])
    world.ping(last)
    world.advance(minutes(0.1))
    world.expect_page(names[5], about=last)
    world.expect_mail("olga", saying="more than 5 addresses refuse messages at once")
    world.listening = False
    world.advance(minutes(5))
    world.expect_nothing_else()
    assert list(failing_methods(world.organization)) == [old], "what failed before stays marked"


def test_a_notice_about_what_fails_that_is_refused_itself_marks_nothing_and_makes_no_other(world, refusals, owner):
    method = personal(world)
    world.team("Database", primary=["ana"], managers=["mia"])
    refusals[method.address] = GONE
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    refusals["ana@example.com"] = GONE
    world.advance(minutes(30))
    world.expect_nothing_else()
    assert list(failing_methods(world.organization)) == [method]


@pytest.mark.long
@pytest.mark.slow
def test_what_works_now_and_then_is_announced_once_a_day(world, refusals, owner):
    method = personal(world)
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job, address=method.address)
    for _ in range(30):
        refusals[method.address] = GONE
        another_silence(world, job)
        world.advance(minutes(60))
        refusals.clear()
        another_silence(world, job)
        world.advance(minutes(60))
    announced = sum("Alerts do not reach you" in message.subject for message in world.mails)
    assert announced == 3  # in two days and a half


def test_the_moment_of_a_notice_keeps_to_the_hours_of_the_method_that_carries_it(world, refusals, owner):
    ana = world.person("ana")
    ana.contact_methods.update(failing_since=world.now, failed_at=world.now, failures=1)
    weekdays = {"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "starts": "15:00", "ends": "16:00"}
    ContactMethod.objects.create(
        user=ana, label="Day", address="ana@day.example.com", verified_at=world.now, windows=[weekdays]
    )
    world.advance(minutes(1))
    assert notify_of_failing(now=world.now) == 0
    world.expect_nothing_else()
    assert notify_of_failing(now=world.now + timedelta(hours=3)) == 1
    world.advance(seconds(1))


def test_a_method_keeps_its_own_time_where_another_time_would_miss_its_hours(world, refusals, owner):
    method = personal(world, official_after=0)
    ana = world.person("ana")
    ana.contact_methods.filter(label="Email-Official").update(failing_since=world.now, failed_at=world.now, failures=1)
    soon = {"days": ["monday"], "starts": "12:05", "ends": "13:00"}
    ContactMethod.objects.filter(pk=method.pk).update(delay_minutes=10, windows=[soon])
    job = silent(world, recipients=["ana"])
    world.advance(minutes(9))
    assert job
    assert [row.label for row in world.alert(job).notifications.filter(status="accepted", kind="page")] == []
    world.advance(minutes(1))
    pages = world.alert(job).notifications.filter(status="accepted", kind="page")
    assert {row.label for row in pages} == {"Email-Official", "Email-Personal"}


def test_the_list_of_heartbeats_that_reach_nobody_names_what_fails(world, owner):
    world.person("ana").contact_methods.update(failing_since=world.now, failed_at=world.now, failures=1)
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    assert job.pk in current_coverage_gaps(world.organization, at=world.now)
    personal(world)
    assert current_coverage_gaps(world.organization, at=world.now) == {}
