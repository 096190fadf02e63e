"""What people see and say about their own on-call shifts in the console."""

from datetime import timedelta

import pytest
from django.test import Client

from escalation.models.on_call import OnCallReminderSettings, OutOfOffice
from heartbeat_project.kernel import clock
from tests import factories
from tests.factories import WHEN
from tests.factories.shifts import make_absence, make_rotation, make_shift

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: WHEN)


@pytest.fixture
def ana():
    return factories.UserFactory(name="Ana")


@pytest.fixture
def bob(ana):
    return factories.UserFactory(name="Bob", organization=ana.organization)


@pytest.fixture
def browser(ana):
    client = Client()
    client.force_login(ana)
    return client


def test_the_first_page_says_that_i_am_on_call_and_until_when(browser, ana, bob):
    group = factories.GroupFactory(organization=ana.organization, name="Database", primary=[ana, bob])
    make_rotation(group, primary=[ana, bob], first="2026-03-02")
    page = browser.get("/alerts/").content.decode()
    assert "You are on call now: <strong>Database</strong> (Primary, until Mon 9 Mar, 09:00)" in page
    other = Client()
    other.force_login(bob)
    assert "You are on call" not in other.get("/alerts/").content.decode()


def test_my_turns_are_listed_and_without_any_the_page_says_how_they_come_about(browser, ana, bob):
    assert "You are not on call in the next two months" in browser.get("/on-call/").content.decode()
    group = factories.GroupFactory(organization=ana.organization, name="Database", primary=[ana, bob])
    make_rotation(group, primary=[bob, ana], first="2026-03-02")
    page = browser.get("/on-call/").content.decode()
    assert "from Mon 9 Mar, 09:00" in page
    assert "until Mon 16 Mar, 09:00" in page


def test_while_i_am_out_the_first_page_and_the_turns_are_my_covers_with_my_name(browser, ana, bob):
    group = factories.GroupFactory(organization=ana.organization, name="Database", primary=[ana])
    make_rotation(group, primary=[ana], first="2026-03-02")
    make_absence(ana, bob, starts_at=WHEN - timedelta(hours=1), ends_at=WHEN + timedelta(hours=6))
    assert "You are on call" not in browser.get("/alerts/").content.decode()
    page = browser.get("/on-call/").content.decode()
    assert "On call now" not in page
    assert "from Mon 2 Mar, 17:00" in page
    other = Client()
    other.force_login(bob)
    said = "You are on call now: <strong>Database</strong> (Primary, for Ana, until Mon 2 Mar, 17:00)"
    assert said in other.get("/alerts/").content.decode()
    page = other.get("/on-call/").content.decode()
    assert "On call now" in page
    assert "<span>for Ana</span>" in page


def test_i_enter_and_take_back_when_i_am_out_of_office(browser, ana, bob):
    given = {"starts_at": "2026-03-03T08:00", "ends_at": "2026-03-05T18:00", "cover": bob.pk, "group": ""}
    page = browser.post("/on-call/out-of-office/add/", given, follow=True).content.decode()
    assert "Saved. Bob will be notified instead of you." in page
    entry = OutOfOffice.objects.get()
    assert (entry.user, entry.cover, entry.group) == (ana, bob, None)
    again = browser.post("/on-call/out-of-office/add/", given)
    assert again.status_code == 400
    assert "already out of office in this time" in again.content.decode()
    other = Client()
    other.force_login(bob)
    assert "You are notified instead of Ana" in other.get("/on-call/").content.decode()
    assert other.post(f"/on-call/out-of-office/{entry.pk}/delete/").status_code == 404
    browser.post(f"/on-call/out-of-office/{entry.pk}/delete/")
    assert not OutOfOffice.objects.exists()


def test_a_cover_of_another_organization_is_no_choice(browser, ana):
    stranger = factories.UserFactory()
    given = {"starts_at": "2026-03-03T08:00", "ends_at": "2026-03-05T18:00", "cover": stranger.pk}
    assert browser.post("/on-call/out-of-office/add/", given).status_code == 400
    assert not OutOfOffice.objects.exists()


def test_i_choose_my_reminder(browser, ana):
    browser.post("/on-call/reminder/", {"remind_hours": "12.5"})
    assert OnCallReminderSettings.objects.get(user=ana).remind_hours == 12.5
    assert browser.post("/on-call/reminder/", {"remind_hours": "400"}).status_code == 400
    browser.post("/on-call/reminder/", {"remind_hours": ""})
    assert OnCallReminderSettings.objects.get(user=ana).remind_hours is None


def test_my_calendars_address_is_shown_and_can_be_replaced(browser, ana):
    def address():
        return browser.get("/on-call/").context["feed_url"]

    first = address()
    assert first == address()
    browser.post("/on-call/calendar/replace/")
    assert address() != first
    assert Client().get(first.removeprefix("http://127.0.0.1:8000")).status_code == 404


def test_what_is_over_is_not_listed(browser, ana, bob):
    make_absence(ana, bob, starts_at=WHEN - timedelta(days=2), ends_at=WHEN)
    assert "is notified instead of you</span>" not in browser.get("/on-call/").content.decode()


def test_a_turn_that_ends_after_two_months_shows_its_end_and_one_without_an_end_says_so(browser, ana, bob):
    group = factories.GroupFactory(organization=ana.organization, name="Database", primary=[ana, bob])
    make_rotation(group, primary=[ana, bob], first="2026-03-02")
    page = browser.get("/on-call/").content.decode()
    assert "from Mon 27 Apr, 09:00" in page
    assert "until Mon 4 May, 09:00" in page  # two months end on 3 May
    assert "no end planned" not in page
    factories.GroupFactory(organization=ana.organization, name="Backup", primary=[ana])
    assert "no end planned" in browser.get("/on-call/").content.decode()
    make_rotation(
        group, primary=[ana, bob], first="2026-03-01", rotates_every="month", rotates_count=12, is_override=True
    )
    assert "until Mon 1 Mar 2027, 09:00" in browser.get("/on-call/").content.decode()


def test_a_groups_page_says_first_who_is_on_call_now_by_which_shift_and_until_when(browser, ana, bob):
    group = factories.GroupFactory(organization=ana.organization, name="Operations", primary=[ana], secondary=[bob])
    shift = make_rotation(group, primary=[bob, ana], first="2026-03-02", name="Weekly rotation")
    page = browser.get(f"/groups/{group.pk}/").content.decode()
    now, members = page.index("On call now"), page.index("Members</h2>")
    assert now < members
    said = " ".join(page[now:members].split())
    assert "Bob <span" in said
    assert "Ana <span" not in said
    assert "By the shift “Weekly rotation”." in said
    assert "9 Mar" in said
    assert "then Ana" in said
    bob.is_active = False
    bob.save()
    shift.delete()
    make_shift(group, primary=[bob], name="Bob alone", starts_at=WHEN, ends_at=WHEN + timedelta(hours=1))
    said = browser.get(f"/groups/{group.pk}/").content.decode()
    assert "“Bob alone” is passed over: nobody in it can be reached." in said
