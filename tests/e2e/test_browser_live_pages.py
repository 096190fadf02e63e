"""In a real browser: an open page goes on notifying the news while the reader works in it."""

import re

import pytest
from playwright.sync_api import expect

from alerting.models.alerts import Alert
from alerting.services.alerts import close_alerts
from heartbeat_project.kernel import clock
from tests import factories
from tests.e2e.test_browser_seed_walk import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.serial, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def alert(organization, ines, team):
    alert = factories.AlertFactory(organization=organization, subject="Backup is silent", opened_at=clock.now())
    alert.recipients.create(group=team)
    return alert


def another(organization, team, subject) -> Alert:
    alert = factories.AlertFactory(organization=organization, subject=subject, opened_at=clock.now())
    alert.recipients.create(group=team)
    return alert


def news(page):
    """Let a page look for news once, without waiting for it."""
    page.clock.run_for(5_000)


def test_the_list_counts_on_while_the_keyboard_or_a_selection_is_in_it_and_says_what_waits(
    page, alert, organization, team
):
    page.clock.install()
    sign_in(page)
    assert page.title() == "(1) Alerts · Heartbeat"
    row = page.get_by_role("link", name="Backup is silent")
    row.focus()
    another(organization, team, "Hand-off is silent")
    news(page)
    expect(page.locator("#count-open")).to_have_text("2")
    expect(page).to_have_title("(2) Alerts · Heartbeat")
    waits = page.locator("#alert-rows").locator("xpath=preceding-sibling::p[@class='waiting'][1]")
    expect(waits).to_contain_text("1 new")
    expect(row).to_be_focused()
    expect(page.locator("#alert-rows li")).to_have_count(1)
    another(organization, team, "Import is silent")
    news(page)
    expect(waits).to_contain_text("2 new")
    page.get_by_label("Search alerts").focus()
    expect(page.locator("#alert-rows li")).to_have_count(3)
    expect(waits).to_be_hidden()

    # Words that are selected elsewhere hold nothing back; in the list they do, until they are let go.
    page.evaluate("document.getSelection().selectAllChildren(document.querySelector('#heartbeats-title'))")
    another(organization, team, "Export is silent")
    news(page)
    expect(page.locator("#alert-rows li")).to_have_count(4)
    page.evaluate("document.getSelection().selectAllChildren(document.querySelector('#alert-rows li'))")
    another(organization, team, "Report is silent")
    news(page)
    expect(waits).to_contain_text("1 new")
    page.get_by_role("button", name="Show now").click()
    expect(page.locator("#alert-rows li")).to_have_count(5)
    expect(waits).to_be_hidden()
    assert page.troubles == []


def test_a_closed_alert_stops_showing_buttons_also_under_the_focus(page, alert):
    page.clock.install()
    sign_in(page, f"/alerts/{alert.pk}/")
    page.get_by_role("button", name="Acknowledge").focus()
    close_alerts([alert.pk], reason="closed by heartbeat", now=clock.now())
    news(page)
    expect(page.locator("#alert-head")).to_contain_text("Closed")
    expect(page).to_have_title(re.compile("^Closed: "))
    expect(page.locator("#alert-facts")).to_contain_text("Closed by its heartbeat")
    for name in ("Assign to me", "Acknowledge", "Escalate", "Hold"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.locator("#alert-do")).to_be_focused()
    assert page.troubles == []


def test_what_is_being_written_is_kept_when_the_alert_closes(page, alert):
    page.clock.install()
    sign_in(page, f"/alerts/{alert.pk}/")
    page.get_by_text("Note…").click()
    page.get_by_label("Note").fill("The disk was full")
    close_alerts([alert.pk], reason="closed by heartbeat", now=clock.now())
    news(page)
    expect(page.locator("#alert-head")).to_contain_text("Closed")
    expect(page.get_by_text("There is news")).to_be_visible()
    expect(page.get_by_label("Note")).to_have_value("The disk was full")
    page.get_by_role("button", name="Add to the timeline").click()
    expect(page.locator("#alert-progress")).to_contain_text("The disk was full")


def test_an_alert_is_sent_from_a_phone_without_scrolling(page, organization, ines, team):
    organization.escalation_policies.update(quick_launch=False)
    policy = factories.PolicyFactory(organization=organization, name="Fire brigade", quick_launch=True)
    organization.response_plays.update(enabled=False)
    factories.UserFactory(organization=organization, name="Ben Okafor")
    page.set_viewport_size({"width": 360, "height": 740})
    sign_in(page, "/alerts/new/")
    expect(page.get_by_label("What is wrong?")).to_be_focused()
    expect(page.get_by_label("Escalation Policy / Response Play")).to_have_value(f"policy:{policy.pk}")
    expect(page.get_by_role("checkbox", name="Operations")).to_be_checked()
    page.keyboard.type("Smoke")
    page.keyboard.press("Enter")  # goes on to the button, and sends nothing
    button = page.get_by_role("button", name="Send alert to 1 person")
    expect(button).to_be_focused()
    page.get_by_label("Find a group or person").fill("oka")
    expect(page.locator("#found input")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("checkbox", name="Ben Okafor")).to_be_checked()
    expect(page.locator("#who")).to_contain_text("Ben Okafor, Ines")
    button = page.get_by_role("button", name="Send alert to 2 people")
    expect(button).to_be_in_viewport(ratio=1)
    expect(page.locator("#who")).to_be_in_viewport(ratio=1)
    assert page.evaluate("[scrollY, document.documentElement.scrollWidth]") == [0, 360]
    button.click()
    page.wait_for_url("**/alerts/*/")
    assert Alert.objects.get().subject == "Smoke"
    assert page.troubles == []


def test_a_row_under_the_pointer_stays_where_it_is_and_ticks_stay_where_they_were_set(page, alert, organization, team):
    page.clock.install()
    sign_in(page)
    row = page.locator(f"#alert-{alert.pk}")
    row.hover()
    before = row.bounding_box()
    newer = another(organization, team, "Hand-off is silent")
    news(page)
    expect(page).to_have_title("(2) Alerts · Heartbeat")
    expect(page.locator("#mark-count")).to_have_text("2")
    expect(page.get_by_text("1 new")).to_be_visible()
    expect(page.locator("#alert-rows li")).to_have_count(1)
    assert page.locator("link[rel=icon]").get_attribute("href").split("/")[-1].startswith("favicon-dot.")
    assert row.bounding_box()["x"] == before["x"]
    row.get_by_role("checkbox").check()
    expect(page.get_by_text("alert is ticked")).to_be_visible()
    page.mouse.move(5, 700)
    page.get_by_label("Search alerts").focus()
    expect(page.locator("#alert-rows li")).to_have_count(2)
    expect(row.get_by_role("checkbox")).to_be_checked()
    page.locator(f"#alert-{newer.pk}").get_by_role("checkbox").check()
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    expect(page.locator(".messages")).to_contain_text("Acknowledged: 2 alerts.")
    assert page.troubles == []


def test_an_alert_appears_on_a_phone_is_taken_there_and_closes_live(page, ines, organization, team):
    page.set_viewport_size({"width": 360, "height": 740})
    page.clock.install()
    sign_in(page)
    expect(page.get_by_text("No open alerts")).to_be_visible()
    alert = another(organization, team, "Import is silent")
    news(page)
    expect(page).to_have_title("(1) Alerts · Heartbeat")
    expect(page.locator("#bottom-count")).to_have_text("1")
    page.get_by_role("link", name="Import is silent").click()
    page.get_by_role("button", name="Assign to me").click()
    expect(page.locator(".messages")).to_contain_text("It is yours")
    close_alerts([alert.pk], reason="closed by heartbeat", now=clock.now())
    news(page)
    expect(page.locator("#alert-head")).to_contain_text("Closed")
    expect(page.locator("#alert-facts")).to_contain_text("Closed by its heartbeat")
    assert page.troubles == []


def test_a_filter_narrows_the_list_without_a_new_page_and_stands_in_the_address(page, alert, organization, team):
    low = another(organization, team, "Report is silent")
    Alert.objects.filter(pk=low.pk).update(priority="low")
    sign_in(page)
    page.evaluate("window.same = true")
    page.get_by_label("Priority").select_option("Low")
    expect(page.locator("#alert-rows li")).to_have_count(1)
    expect(page.locator("#alert-rows")).to_contain_text("Report is silent")
    assert "priority=low" in page.url
    assert page.evaluate("window.same")
    assert "priority=low" in page.locator("#bulk-next").input_value()
    assert "priority=low" in page.locator("#alert-list").get_attribute("data-refresh")
    page.go_back()
    expect(page.locator("#alert-rows li")).to_have_count(2)
    assert page.troubles == []
