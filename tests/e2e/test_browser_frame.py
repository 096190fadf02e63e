"""In a real browser: the frame around all pages, its keys, and that no page breaks its own content policy."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from heartbeat_project.kernel import clock
from tests import factories
from tests.e2e.test_browser_seed_walk import INBOUND, _furnished, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.serial, pytest.mark.django_db(transaction=True)]

WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
# Reports what the policy refuses, from the first script on.
LISTEN = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.refused.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile || ""} ${event.sample}`));
"""


@pytest.fixture
def owner(organization, ines):
    """The person who signs in, with every right."""
    ines.roles.set([organization.roles.get(name="Owner")])
    return ines


@pytest.fixture
def pages(organization, owner, team):
    pages = _furnished(organization, owner, team)
    play = factories.PlayFactory(organization=organization)
    play.tiers.create(offset_minutes=0).users.add(owner)
    alert = organization.alerts.get(integration_type="heartbeat")
    heartbeat = pages["heartbeat"]
    return pages | {
        "heartbeats": "/heartbeats/",
        "new alert": "/alerts/new/",
        "coverage gaps": "/heartbeats/coverage-gaps/",
        "who would be notified": f"{heartbeat}who-would-be-notified/",
        "group of the console": f"/groups/{team.pk}/",
        "audit log": f"/audit-log/?object_type=alert&object_id={alert.pk}",
        "usage": "/usage/",
        "outbound": "/outbound-integrations/",
        "play": f"/admin/escalation/responseplay/{play.pk}/change/",
        "new play": "/admin/escalation/responseplay/add/",
        "users": "/admin/accounts/user/",
        "user": f"/admin/accounts/user/{owner.pk}/change/",
        "roles": "/admin/accounts/role/",
        "keys": "/admin/accounts/apikey/",
        "bridges": "/admin/alerting/bridge/",
        "windows": "/admin/integrations/maintenancewindow/",
        "new window": "/admin/integrations/maintenancewindow/add/",
        "stored mail": "/admin/escalation/storedmail/",
        "deletion": f"{pages['saved'].removesuffix('change/')}delete/",
        "API docs": "/api/v1/docs/",
        "no link": "/r/nonsense",
    }


def test_no_page_breaks_its_content_policy_or_scrolls_sideways_on_a_phone(chromium, site, pages):
    context = chromium.new_context(base_url=site, viewport=PHONE)
    page = context.new_page()
    page.add_init_script(LISTEN)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    sign_in(page)
    found = {}
    for name, path in pages.items():
        answer = page.goto(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy or "default-src 'none'" in policy, name
        assert "unsafe" not in policy, name
        refused = page.evaluate("window.refused")
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if refused or too_wide > 0:
            found[name] = (refused, too_wide)
    context.close()
    assert (found, errors) == ({}, [])


def test_the_policy_refuses_a_script_that_got_into_a_page(page, owner):
    page.add_init_script(LISTEN)
    sign_in(page)
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", '<p style="color: red" onclick="window.ran = true">x</p>');
            document.body.lastElementChild.click();
        }"""
    )
    assert page.evaluate("window.ran") is None
    assert len(page.evaluate("window.refused")) == 3


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_no_page_of_the_console_has_any_barrier_for_an_owner(chromium, site, pages, scheme):
    context = chromium.new_context(base_url=site, color_scheme=scheme, viewport=WIDE if scheme == "light" else PHONE)
    page = context.new_page()
    sign_in(page)
    found = {}
    for name in ("alerts", "heartbeats", "alert", "heartbeat", "new alert", "API docs", "missing"):
        page.goto(pages[name])
        violations = Axe().run(page).response["violations"]
        barriers = [(broken["id"], [node["html"][:200] for node in broken["nodes"]]) for broken in violations]
        if barriers:
            found[name] = barriers
    context.close()
    assert found == {}


def test_keys_and_menus_of_a_wide_screen(page, organization, owner):
    alert = factories.AlertFactory(organization=organization, subject="Backup is silent", opened_at=clock.now())
    page.set_viewport_size(WIDE)
    sign_in(page)
    expect(page.locator("#mark-count")).to_have_text("1")
    for name in ("Alerts", "Heartbeats", "On call", "Configuration"):
        expect(page.locator(".bar nav").get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Reports")).to_have_count(0)
    page.locator("summary", has_text="Add").first.click()
    for name in ("New alert", "Add heartbeat", "Override", "Maintenance window"):
        expect(page.locator(".bar").get_by_role("link", name=name, exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".bar").get_by_role("link", name="New alert")).to_be_hidden()

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    page.goto("/on-call/")
    page.keyboard.press("/")
    page.keyboard.type(f"#{alert.pk}")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/alerts/{alert.pk}/")
    assert page.troubles == []


def test_the_bar_at_the_bottom_of_a_phone(page, organization, owner):
    alert = factories.AlertFactory(organization=organization, subject="Backup is silent", opened_at=clock.now())
    page.set_viewport_size(PHONE)
    sign_in(page)
    expect(page.locator("header.bar")).to_be_hidden()
    bar = page.locator("nav.bottom")
    for name in ("Alerts", "Heartbeats", "On call"):
        expect(bar.get_by_role("link", name=name)).to_be_in_viewport(ratio=1)
    bar.get_by_text("More", exact=True).click()
    for name in ("New alert", "Configuration", "Profile", "Contact methods", "API docs"):
        expect(bar.get_by_role("link", name=name, exact=True)).to_be_visible()
    bar.get_by_label("Find alerts").fill(f"#{alert.pk}")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/alerts/{alert.pk}/")
    bar.get_by_text("More", exact=True).click()
    bar.get_by_role("button", name="Dark").click()
    page.wait_for_url(f"**/alerts/{alert.pk}/")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 20, 26)"
    bar.get_by_text("More", exact=True).click()
    expect(bar.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    page.goto(INBOUND)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 20, 26)"
    assert page.troubles == []


def test_a_trouble_asks_once_for_the_zone_of_the_browser(chromium, site, owner):
    owner.time_zone = "UTC"
    owner.save()
    context = chromium.new_context(base_url=site, timezone_id="Europe/Istanbul")
    page = context.new_page()
    sign_in(page, "/on-call/")
    expect(page.locator(".troubles")).to_contain_text("this browser is in Europe/Istanbul")
    page.get_by_role("button", name="Use Europe/Istanbul").click()
    page.wait_for_url("**/on-call/")
    expect(page.locator(".messages")).to_contain_text("Times are in Europe/Istanbul now.")
    owner.refresh_from_db()
    assert owner.time_zone == "Europe/Istanbul"
    expect(page.get_by_role("button", name=re.compile("^Use "))).to_have_count(0)
    context.close()


def test_a_call_is_tried_from_the_reference_of_the_api(page, organization, owner):
    sign_in(page, "/api/v1/docs/")
    page.get_by_role("navigation", name="Resources").get_by_role("link", name="bridges").click()
    call = page.locator("#bridges-create")
    call.locator("summary").click()
    call.get_by_role("button", name="Try it").click()
    dialog = page.get_by_role("dialog", name="Try a call")
    dialog.get_by_label("Body (JSON)").fill('{"name": "War room", "phone_number": "+49301234567"}')
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("status")).to_contain_text("201")
    expect(dialog.get_by_role("region", name="Answer")).to_contain_text('"name": "War room"')
    assert organization.bridges.filter(name="War room").exists()
    # Nothing leaves for another address, and the key of the form does not either.
    dialog.get_by_label("path and query").fill("//elsewhere.example/api/v1/")
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("status")).to_have_text("The path must begin with /api/v1/")
    assert page.troubles == []
