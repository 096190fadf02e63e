"""A calendar that cannot be read is reported to the Managers once for each incident, and shown where people look."""

import itertools

import pytest

from escalation.notifications.notices.unreadable_calendars import report_unreadable_calendars
from escalation.oncall.calendars import read
from escalation.oncall.calendars.fetch import NotFetched
from escalation.oncall.calendars.read import read_due_calendars
from tests.factories.shifts import make_shift
from tests.unit.test_calendars import calendar
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db

EVENT = calendar("SUMMARY:Ana\r\nDTSTART:20260302T000000Z\r\nDTEND:20260309T000000Z")


@pytest.fixture
def answer(monkeypatch):
    """What the calendar's server answers: a text, or None while it is away."""
    state = {"text": None}

    def fetch(url, **_):
        if state["text"] is None:
            raise NotFetched("The server answered 503.")
        return state["text"]

    monkeypatch.setattr(read, "fetch", fetch)
    return state


def live(world, by, step=None):
    """Let time pass with the calendars' task running, as it does each minute, and everything else each five minutes."""
    end, step = world.now + by, step or minutes(1)
    for number in itertools.count(1):
        read_due_calendars(now=world.now)
        report_unreadable_calendars(now=world.now)
        world.now += step - seconds(1)
        if number % 5 == 0 or world.now + seconds(1) >= end:
            world.advance(seconds(1))
        else:
            world.now += seconds(1)
        if world.now >= end:
            break


def shift_of(world, **team):
    group = world.team("Database", primary=["ana"], **team)
    return make_shift(
        group, kind="calendar", calendar_url="https://example.com/standby.ics", name="Standby", now=world.now
    )


def test_managers_get_one_mail_when_it_fails_for_half_an_hour_and_again_only_after_it_had_worked(world, answer):
    shift = shift_of(world, managers=["mia", "max"])
    live(world, minutes(29))
    world.expect_nothing_else()
    live(world, minutes(60 * 6), step=minutes(5))
    for manager in ("mia", "max"):
        mail = world.expect_mail(manager, saying="The calendar of the shift “Standby” of Database cannot be read")
        assert "The server answered 503." in mail.body
        assert "It was never read, so this shift has nobody on call." in " ".join(mail.body.split())
    world.expect_nothing_else()
    answer["text"] = EVENT
    live(world, minutes(30))
    shift.refresh_from_db()
    assert (shift.calendar_failing_since, shift.calendar_reported_at) == (None, None)
    answer["text"] = None
    live(world, minutes(20))
    answer["text"] = EVENT  # a short failure is none of theirs
    live(world, minutes(30))
    world.expect_nothing_else()
    answer["text"] = None
    live(world, minutes(60))
    for manager in ("mia", "max"):
        mail = world.expect_mail(manager, saying="cannot be read")
        assert "comes from the copy of" in " ".join(mail.body.split())
    world.expect_nothing_else()


def test_without_a_manager_the_owners_and_app_admins_are_written_to(world, answer):
    world.person("olga", roles=["Owner"])
    world.person("max", is_active=False)
    shift_of(world, managers=["max"])
    live(world, minutes(60))
    world.expect_mail("olga", saying="cannot be read")
    world.expect_mail("rota admin", saying="cannot be read", address=_admin_of(world).email)
    world.expect_nothing_else()


def _admin_of(world):
    return world.organization.users.get(roles__builtin="App Admin")


def test_a_new_address_is_a_new_incident(world, answer):
    from escalation.oncall.shifts import update_shift

    shift = shift_of(world, managers=["mia"])
    live(world, minutes(40))
    world.expect_mail("mia", saying="cannot be read")
    update_shift(shift, actor=_admin_of(world), now=world.now, calendar_url="https://example.com/other.ics")
    live(world, minutes(29))
    world.expect_nothing_else()
    live(world, minutes(10))
    world.expect_mail("mia", saying="cannot be read")
    world.expect_nothing_else()


def test_the_group_the_own_shifts_and_the_list_of_shifts_say_so(world, answer, client):
    shift = shift_of(world, managers=["mia"])
    live(world, minutes(10))
    sentence = "The calendar of the shift “Standby”"
    client.force_login(world.person("mia"))
    assert sentence in client.get(f"/groups/{shift.group_id}/").content.decode()
    assert f"{sentence} of Database cannot be read" in client.get("/on-call/").content.decode()
    client.force_login(_admin_of(world))
    assert sentence in client.get(f"/admin/accounts/group/{shift.group_id}/change/").content.decode()
    assert "cannot be read since 2026-03-02 12:00" in client.get("/admin/escalation/shift/").content.decode()
    client.force_login(world.person("ana"))
    assert sentence in client.get("/on-call/").content.decode()
    answer["text"] = EVENT
    live(world, minutes(10))
    assert sentence not in client.get("/on-call/").content.decode()


def test_managers_get_one_mail_when_it_names_no_member_and_another_kind_of_trouble_is_news(world, answer):
    shift = shift_of(world, managers=["mia"])
    stranger = EVENT.replace(b"SUMMARY:Ana", b"SUMMARY:Somebody Else")
    answer["text"] = EVENT
    live(world, minutes(30))
    assert shift.entries.count() == 1
    answer["text"] = stranger
    live(world, minutes(20))
    shift.refresh_from_db()
    assert shift.names_nobody
    world.expect_nothing_else()
    live(world, minutes(60 * 6), step=minutes(5))
    mail = world.expect_mail(
        "mia", saying="The calendar of the shift “Standby” of Database names no member of the group"
    )
    said = " ".join(mail.body.split())
    assert "No active member of the group was found in: “Somebody Else”." in said
    assert "This shift has nobody on call." in said
    world.expect_nothing_else()
    answer["text"] = EVENT
    live(world, minutes(30))
    shift.refresh_from_db()
    assert (shift.names_nobody, shift.calendar_failing_since, shift.calendar_reported_at) == (False, None, None)
    assert shift.entries.count() == 1
    answer["text"] = None
    live(world, minutes(60))
    world.expect_mail("mia", saying="cannot be read")
    answer["text"] = stranger
    live(world, minutes(90))
    world.expect_mail("mia", saying="names no member of the group")
    world.expect_nothing_else()


def test_a_calendar_without_events_names_nobody_and_is_no_trouble(world, answer):
    shift = shift_of(world, managers=["mia"])
    answer["text"] = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y\r\nEND:VCALENDAR\r\n"
    live(world, minutes(90))
    shift.refresh_from_db()
    assert (shift.names_nobody, shift.calendar_trouble) == (False, "")
    world.expect_nothing_else()


@pytest.mark.parametrize("text", [None, EVENT.replace(b"SUMMARY:Ana", b"SUMMARY:Somebody Else")])
def test_a_shift_that_has_ended_is_not_read_and_its_calendar_is_no_trouble(world, answer, text):
    shift = shift_of(world, managers=["mia"])
    answer["text"] = text
    live(world, minutes(10))
    shift.refresh_from_db()
    assert shift.calendar_trouble
    shift.ends_at = world.now
    shift.save(update_fields=["ends_at"])
    live(world, minutes(90))
    shift.refresh_from_db()
    assert (shift.calendar_trouble, shift.calendar_error) == ("", "")
    world.expect_nothing_else()
    shift.ends_at = None
    shift.save(update_fields=["ends_at"])
    live(world, minutes(60))
    world.expect_mail("mia", saying="The calendar of the shift “Standby” of Database")
