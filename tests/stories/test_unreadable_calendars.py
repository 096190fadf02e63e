"""A calendar that cannot be read is reported to the Managers once for each incident, and shown where people look."""

import pytest

from escalation.services import calendars
from escalation.services.calendars import read_due_calendars, report_unreadable_calendars
from escalation.services.fetching import NotFetched
from tests.factories.shifts import make_shift
from tests.unit.test_calendars import calendar
from tests.world import minutes

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

    monkeypatch.setattr(calendars, "fetch", fetch)
    return state


def live(world, by, step=None):
    """Let time pass with the calendars' task running, as it does each minute."""
    end = world.now + by
    while world.now < end:
        read_due_calendars(now=world.now)
        report_unreadable_calendars(now=world.now)
        world.advance(step or minutes(1))


def shift_of(world, **team):
    group = world.team("Database", primary=["ana"], **team)
    return make_shift(group, kind="calendar", calendar_url="https://example.com/duty.ics", name="Duty", now=world.now)


def test_managers_get_one_mail_when_it_fails_for_half_an_hour_and_again_only_after_it_had_worked(world, answer):
    shift = shift_of(world, managers=["mia", "max"])
    live(world, minutes(29))
    world.expect_nothing_else()
    live(world, minutes(60 * 6), step=minutes(5))
    for manager in ("mia", "max"):
        mail = world.expect_mail(manager, saying="The calendar of the shift “Duty” of Database cannot be read")
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
    from escalation.services.shifts import update_shift

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
    sentence = "The calendar of the shift “Duty”"
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
