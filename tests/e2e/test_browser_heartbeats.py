"""In a real browser: the list of heartbeats and the pages of one, on a phone and on a wide screen."""

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from heartbeat_project.kernel import clock
from integrations.models.heartbeats import Heartbeat
from integrations.models.history import Ping
from integrations.ping_lane.batch import Arrival, record_pings
from tests import factories
from tests.e2e.test_browser_seed_walk import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.serial, pytest.mark.django_db(transaction=True)]
SIZES = {"phone": {"width": 360, "height": 740}, "wide": {"width": 1280, "height": 800}}


@pytest.fixture
def jobs(organization, ines):
    now = clock.now() - timedelta(days=1)
    shop = [
        factories.HeartbeatFactory(
            organization=organization, name=f"Shop job {number}", interval_minutes=2880, tags=["shop"], now=now
        )
        for number in range(12)
    ]
    factories.HeartbeatFactory(
        organization=organization, name="Ledger of all branches, nightly and by hand", interval_minutes=2880, now=now
    )
    return shop


def is_cut(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.mark.parametrize("size", SIZES)
def test_twelve_jobs_go_into_maintenance_for_two_hours_in_five_clicks(page, jobs, size):
    page.set_viewport_size(SIZES[size])
    sign_in(page)
    page.goto("/heartbeats/")
    assert not is_cut(page)
    page.locator("a.tag", has_text="shop").first.click()  # 1
    page.get_by_label("All on this page").check()  # 2
    page.get_by_label("What to do with those that are ticked").select_option("Maintenance for 2 hours")  # 3 and 4
    page.get_by_role("button", name="Do it").click()  # 5
    expect(page.get_by_text("12 heartbeats in maintenance for 2 hours.")).to_be_visible()
    assert Heartbeat.objects.filter(suspended_until__gt=clock.now()).count() == 12
    expect(page.locator(".heartbeats .rows > li")).to_have_count(12)
    assert not is_cut(page)
    assert page.troubles == []


@pytest.mark.parametrize("size", SIZES)
def test_the_url_is_revealed_and_copied_and_a_test_ping_is_seen_live(page, jobs, size):
    page.set_viewport_size(SIZES[size])
    job = jobs[0]
    sign_in(page)
    page.goto(f"/heartbeats/{job.pk}/")
    expect(page.locator(".countdown")).to_contain_text("in 23 h")  # by the script, each second
    assert not is_cut(page)
    page.get_by_role("link", name="How to ping").click()
    expect(page.locator("#api-url")).to_be_hidden()
    page.get_by_text("Show the URL").click()
    expect(page.locator("#api-url")).to_have_value(f"{page.url.split('/heartbeats')[0]}/Heartbeat/{job.token}")
    page.get_by_role("button", name="COPY the API URL").click()
    expect(page.locator("#api-url-said")).to_have_text("Copied")
    page.locator("summary", has_text="Windows Task Scheduler").click()
    page.get_by_role("button", name="COPY the text for Windows Task Scheduler").click()
    assert job.token in page.evaluate("navigator.clipboard.readText()")
    expect(page.locator(".verdict")).to_contain_text("The first ping is still to come.")
    Ping.objects.all().delete()
    with page.expect_navigation():
        page.get_by_role("button", name="Send a test ping").click()
    expect(page.locator(".verdict")).to_contain_text("Pings arrive as expected.")
    assert Ping.objects.count() == 1
    # Another one comes from elsewhere: the page shows it by itself.
    record_pings([Arrival(job.token, clock.now())])
    expect(page.locator("#heartbeat-now dd").last).to_have_text("2")
    assert not is_cut(page)
    assert page.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_pages_of_heartbeats(page, jobs, scheme):
    job = jobs[0]
    record_pings([Arrival(job.token, clock.now())])
    page.emulate_media(color_scheme=scheme)
    sign_in(page)
    found = {}
    for path in (
        "",
        f"{job.pk}/",
        f"{job.pk}/log/",
        f"{job.pk}/how-to-ping/?way=windows-task-scheduler",
        f"{job.pk}/history/",
    ):
        page.goto(f"/heartbeats/{path}")
        barriers = [
            (violation["id"], violation["nodes"][0]["html"][:200])
            for violation in Axe().run(page).response["violations"]
        ]
        if barriers:
            found[path] = barriers
    assert found == {}
