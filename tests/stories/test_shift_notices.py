"""Whoever is put on a shift, or made a cover, hears of it once, when the editing is over, and is reminded before."""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.models.users import User
from escalation.models.on_call import ShiftNotice
from escalation.notifications.notices.on_call_reminders import remind_before_shifts, set_reminder
from escalation.notifications.notices.shift_changes import send_shift_notices
from escalation.oncall.absences import delete_absence, update_absence
from escalation.oncall.shifts import PersonRule, WindowRule, delete_shift, update_shift
from tests.factories.shifts import make_absence, make_rotation, make_shift
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def live(world, by):
    """Let time pass with the task of each minute running."""
    end = world.now + by
    while world.now < end:
        world.advance(min(minutes(1), end - world.now))
        send_shift_notices(now=world.now)
        world.beat()


@pytest.fixture
def rota(world):
    """The person who edits: `make_shift` and so on act as this App Admin."""
    return world.person("rita", roles=["App Admin"])


@pytest.fixture
def team(world, rota):
    world.person("ana", time_zone="Europe/Berlin")
    return world.team("Database", primary=["ana", "bob", "cem"])


def flat(message):
    return " ".join(message.body.split())


@pytest.mark.slow
def test_being_put_on_a_shift_brings_one_message_five_minutes_after_the_last_edit(world, rota, team):
    ana, bob = world.person("ana"), world.person("bob")
    start, end = world.now + DAY, world.now + 8 * DAY
    shift = make_shift(team, primary=[ana], starts_at=start, ends_at=end, name="Week", now=world.now)
    live(world, minutes(4))
    update_shift(shift, actor=rota, now=world.now, name="Week 10", ends_at=end + DAY)
    live(world, minutes(4))
    world.expect_nothing_else()
    live(world, minutes(2))
    mail = world.expect_mail("ana", saying="You were put on the shift “Week 10” of Database")
    assert "Rita put you on the shift “Week 10” of Database as Primary." in flat(mail)
    assert "- from Tue 3 Mar 2026, 13:00:00 CET until Wed 11 Mar 2026, 13:00:00 CET" in flat(mail)
    assert "ask Rita to choose somebody else" in flat(mail)
    live(world, minutes(20))
    update_shift(shift, actor=rota, now=world.now, name="Week ten")  # nothing that Ana has to know
    live(world, minutes(20))
    update_shift(shift, actor=rota, now=world.now, people=[PersonRule(user=ana.pk), PersonRule(user=bob.pk)])
    live(world, minutes(6))
    world.expect_mail("bob", saying="You were put on the shift “Week ten” of Database")
    update_shift(shift, actor=rota, now=world.now, ends_at=end)
    live(world, minutes(6))
    for who in ("ana", "bob"):
        mail = world.expect_mail(who, saying="Your shift “Week ten” of Database was changed")
        assert "Rita changed the shift" in flat(mail)
    world.expect_nothing_else()
    assert not ShiftNotice.objects.exists()


def test_a_shift_without_an_end_says_that_none_is_planned(world, rota, team):
    make_shift(team, primary=[world.person("ana")], name="Always", now=world.now)
    live(world, minutes(6))
    assert "- from now (no end planned)" in flat(world.expect_mail("ana", saying="You were put on the shift"))


def test_what_was_undone_meanwhile_brings_nothing(world, rota, team):
    ana, bob = world.person("ana"), world.person("bob")
    gone = make_shift(team, primary=[ana], name="Gone", now=world.now)
    other = make_rotation(team, primary=[ana, bob], name="Other", now=world.now)
    live(world, minutes(6))
    for who in ("ana", "ana", "bob"):
        world.expect_mail(who, saying="You were put on the shift")
    update_shift(other, actor=rota, now=world.now, people=[PersonRule(user=bob.pk)])
    update_shift(other, actor=rota, now=world.now, handoff_time="10:00")
    live(world, minutes(2))
    update_shift(other, actor=rota, now=world.now, handoff_time="09:00")
    update_shift(other, actor=rota, now=world.now, people=[PersonRule(user=bob.pk), PersonRule(user=ana.pk)])
    short = make_shift(team, primary=[bob], name="Short", ends_at=world.now + minutes(3), now=world.now)
    late = make_shift(team, primary=[bob], name="Late", now=world.now)
    delete_shift(gone, actor=rota)
    delete_shift(late, actor=rota)
    assert short.pk
    live(world, minutes(20))
    world.expect_nothing_else()


def test_who_did_it_themselves_who_left_who_does_not_want_it_and_calendars_bring_nothing(world, rota, team):
    ana, bob, cem = world.person("ana"), world.person("bob"), world.person("cem")
    team.members.create(user=rota, role="primary")
    make_shift(team, primary=[rota], name="Mine", now=world.now)
    shift = make_shift(team, primary=[ana, bob, cem], name="Ours", now=world.now)
    User.objects.filter(pk=ana.pk).update(shift_notices=False)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    ana.roles.set(world.organization.roles.filter(name="App Admin"))
    update_shift(shift, actor=rota, now=world.now, kind="calendar", calendar_url="https://example.com/x.ics")
    live(world, minutes(20))
    world.expect_nothing_else()
    make_shift(team, primary=[ana, bob], name="Again", now=world.now)
    live(world, minutes(20))
    world.expect_nothing_else()


def test_a_cover_hears_for_whom_from_when_until_when_and_by_whom(world, rota, team):
    ana, bob, cem = world.person("ana"), world.person("bob"), world.person("cem")
    days = {"starts_at": world.now + DAY, "ends_at": world.now + 3 * DAY}
    entry = make_absence(ana, bob, actor=rota, now=world.now, group=team, **days)
    live(world, minutes(4))
    update_absence(entry, actor=rota, now=world.now, ends_at=world.now + 4 * DAY)
    live(world, minutes(4))
    world.expect_nothing_else()
    live(world, minutes(2))
    mail = world.expect_mail("bob", saying="You cover for Ana from Tue 3 Mar 2026, 12:00:00 UTC")
    assert "until Fri 6 Mar 2026, 12:04:00 UTC" in flat(mail)
    assert "notified instead of Ana, in Database. Rita entered it." in flat(mail)
    update_absence(entry, actor=ana, now=world.now, cover=cem)
    live(world, minutes(10))
    mail = world.expect_mail("cem", saying="You cover for Ana")
    assert "entered it" not in mail.body
    update_absence(entry, actor=ana, now=world.now, cover=bob)
    delete_absence(entry, actor=ana)
    cem.roles.set(world.organization.roles.filter(name="App Admin"))
    make_absence(
        bob, cem, actor=User.objects.get(pk=cem.pk), now=world.now, **days
    )  # a cover who entered it has no need to hear of it
    past = {"starts_at": world.now - 2 * DAY, "ends_at": world.now - DAY}
    make_absence(ana, cem, actor=rota, now=world.now, **past)
    live(world, minutes(20))
    world.expect_nothing_else()


def test_two_workers_write_one_message(world, rota, team):
    make_shift(team, primary=[world.person("ana")], now=world.now)
    world.now += minutes(5) + seconds(1)
    assert [send_shift_notices(now=world.now) for _ in range(2)] == [1, 0]


def remind(world):
    remind_before_shifts(now=world.now)
    world.beat()


def test_whoever_has_chosen_nothing_is_reminded_twelve_hours_before(world, rota, team):
    ana, bob = world.person("ana"), world.person("bob")
    make_rotation(team, primary=[ana, bob], first="2026-02-24", at="09:00", now=world.now)  # Bob from Tuesday on
    world.now += minutes(60 * 9 - 1)
    remind(world)
    world.expect_nothing_else()
    world.now += minutes(1)
    for _ in range(2):
        remind(world)
    mail = world.expect_mail("bob", saying="You are on call for Database from Tue 3 Mar 2026, 09:00:00 UTC")
    assert "from Tue 3 Mar 2026, 09:00:00 UTC until Tue 10 Mar 2026, 09:00:00 UTC" in flat(mail)
    set_reminder(ana, hours=None)
    world.now += timedelta(days=7)
    remind(world)
    world.expect_nothing_else()


def test_the_same_hours_every_day_are_not_reminded_of_each_day(world, rota, team):
    ana = world.person("ana")
    days = ("monday", "tuesday", "wednesday", "thursday", "friday")
    make_shift(team, primary=[ana], windows=[(days, "08:00", "18:00")], now=world.now)
    for hour in range(24 * 7):
        remind_before_shifts(now=world.now + timedelta(hours=hour))
    world.now += timedelta(days=7)
    world.beat()
    world.expect_mail("ana", saying="from Mon 9 Mar 2026, 09:00:00 CET")  # after the weekend
    world.expect_nothing_else()
    set_reminder(ana, hours=Decimal(1))
    remind_before_shifts(now=world.now.replace(day=10, hour=7, minute=30))
    world.beat()
    world.expect_nothing_else()


def test_it_is_switched_off_and_on_by_oneself(world, client, client_for):
    ana = world.person("ana")
    api = client_for(ana)
    assert api.get("/api/v1/users/me/").json()["shift_notices"] is True
    changed = api.patch("/api/v1/users/me/", {"shift_notices": False}, format="json")
    assert changed.json()["shift_notices"] is False
    assert "shift_notices" not in api.get(f"/api/v1/users/{ana.pk}/").json()
    client.force_login(ana)
    assert 'value="12"' in client.get("/on-call/").content.decode()
    client.post("/on-call/reminder/", {"remind_hours": "2", "shift_notices": "on"})
    assert api.get("/api/v1/users/me/").json()["shift_notices"] is True


def test_the_window_of_a_shift_is_notified_like_its_ends(world, rota, team):
    ana = world.person("ana")
    shift = make_shift(team, primary=[ana], name="Days", now=world.now)
    live(world, minutes(6))
    world.expect_mail("ana", saying="You were put on the shift “Days”")
    from datetime import time

    rule = WindowRule(days=["monday"], starts=time(8), ends=time(18))
    update_shift(shift, actor=rota, now=world.now, windows=[rule])
    live(world, minutes(6))
    mail = world.expect_mail("ana", saying="Your shift “Days” of Database was changed")
    assert "- from now until Mon 2 Mar 2026, 19:00:00 CET" in flat(mail)
    world.expect_nothing_else()
