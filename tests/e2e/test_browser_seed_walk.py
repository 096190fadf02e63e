"""A real browser walks the way of the customer's own words, and looks at every page: readable, accessible, narrow."""

import json
import re
from datetime import timedelta

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from accounts.models.contact_methods import ContactMethod
from alerting.models.alerts import AlertRecipient
from heartbeat_project.kernel import clock
from integrations.heartbeats.selectors import api_url
from integrations.heartbeats.tick import tick
from integrations.inbound.receive import receive
from integrations.inbound.replays import sample
from integrations.models.integrations import InboundIntegration
from integrations.models.outages import IngestState
from integrations.ping_lane.batch import record_pulse
from tests import factories
from tests.e2e.conftest import PASSWORD
from tests.factories.shifts import make_absence, make_rotation
from tests.integration.accounts.test_contact_kinds import SUBSCRIPTION

pytestmark = [pytest.mark.browser, pytest.mark.serial, pytest.mark.django_db(transaction=True)]

INBOUND = "/admin/integrations/inboundintegration/"


def sign_in(page, path="/"):
    page.goto(f"/login/?next={path}")
    page.get_by_label("E-mail").fill("ines@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(f".*{re.escape(path)}$"))


def test_from_configuration_to_a_ping_that_is_seen(page, team, organization):
    bridge = factories.BridgeFactory(organization=organization, name="Operations line")
    sign_in(page)
    page.get_by_role("link", name="Configuration", exact=True).click()
    page.get_by_role("link", name="Integrations", exact=True).click()
    page.get_by_role("link", name="Inbound Integrations").first.click()
    types = page.get_by_label("Type")
    expect(types.locator("option")).to_have_text(["All types", "API", "Email", "Chat", "Heartbeat"])
    types.select_option("Chat")
    expect(page.get_by_role("link", name="+ ADD CHAT")).to_be_visible()
    page.get_by_label("Type").select_option("Heartbeat")
    page.get_by_role("link", name="+ ADD HEARTBEAT").click()

    page.get_by_role("button", name="Submit").click()
    for label, message in (
        ("Integration Name", "Enter a name for the integration."),
        ("Escalation Policy / Response Play", "Choose an escalation policy or a response play."),
        ("Heartbeat Interval (minutes)", "Enter the interval in minutes."),
    ):
        field = page.locator(".field", has=page.get_by_label(label))
        expect(field.locator(".errorlist")).to_have_text(message)
    assert not InboundIntegration.objects.exists()

    page.get_by_label("Integration Name").fill("Nightly backup")
    page.get_by_label("Escalation Policy / Response Play").select_option("Escalate after 5 minutes, user preference")
    page.get_by_label("Heartbeat Interval (minutes)").fill("0.5")
    page.get_by_label("Operations", exact=True).check()
    page.get_by_label("Bridge").select_option("Operations line")
    assert page.get_by_label("Enabled").is_checked()
    page.get_by_role("button", name="Submit").click()

    expect(page.get_by_role("heading", name="Nightly backup")).to_be_visible()
    integration = InboundIntegration.objects.get()
    assert (integration.name, integration.bridge) == ("Nightly backup", bridge)
    page.get_by_role("button", name="COPY", exact=True).click()
    expect(page.locator("#api-url-said")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{page.url.split('/admin/')[0]}/Heartbeat/{integration.token}"
    assert page.get_by_label("API URL").input_value() == copied

    state = page.locator("#state")
    expect(state).to_contain_text("Waiting")
    expect(state).to_contain_text("never")
    answer = httpx.post(copied, json={})
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    # The page brings itself up to date: nobody loads it again.
    expect(state).to_contain_text("Healthy")
    expect(state.locator(f'time[datetime="{_stored(integration).last_ping_at.isoformat()}"]')).to_be_visible()
    expect(page.locator(".logs")).to_contain_text("POST from 127.0.0.1")

    page.get_by_role("link", name="Alerts").click()
    row = page.locator("#heartbeat-panel li", has_text="Nightly backup")
    expect(row).to_contain_text("Healthy")
    expect(row).to_contain_text("last ping")
    assert httpx.post(copied, content=b"not json").status_code == 200
    newer = _stored(integration).last_ping_at.isoformat()
    expect(row.locator(f'time[datetime="{newer}"]')).to_be_visible()
    assert page.troubles == []


def _stored(integration):
    return InboundIntegration.objects.get(pk=integration.pk).heartbeat


def test_copy_works_without_the_clipboard_interface(page, team, organization):
    integration = factories.HeartbeatFactory(organization=organization)
    # As in a browser that reached us over plain http.
    page.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'clipboard', {get: () => window.hidden_clipboard})"
    )
    sign_in(page, f"{INBOUND}{integration.pk}/change/")
    page.get_by_role("button", name="COPY", exact=True).click()
    expect(page.locator("#api-url-said")).to_have_text("Copied")
    shown = page.get_by_label("API URL").input_value()
    other = page.context.new_page()
    other.goto("/favicon.ico")
    other.bring_to_front()
    assert other.evaluate("navigator.clipboard.readText()") == shown == api_url(integration)


def test_a_page_that_hears_nothing_from_the_server_says_so(page, team, organization):
    factories.HeartbeatFactory(organization=organization)
    sign_in(page)
    page.clock.install()
    page.reload()
    page.route("**/heartbeats/panel/**", lambda route: route.abort())
    stale = page.locator("#panel-stale")
    expect(stale).to_be_hidden()
    for _ in range(4):
        page.clock.run_for(5_000)
        page.wait_for_timeout(100)
    expect(stale).to_contain_text("Not up to date")


def _furnished(organization, ines, team):
    """Fill the pages: an open alert with all its parts, and heartbeats in several states."""
    now = clock.now()
    record_pulse(now=now - timedelta(minutes=20))
    monitoring = factories.ApiIntegrationFactory(
        organization=organization, name="Monitoring", recipient_groups=[team], mapping={"each": "{{ payload.title }}"}
    )
    server = "the-server-with-the-long-name.branch-office.example.com"
    body = {"title": f"Disk full on {server}", "tags": [{"path": "/a/very/long/path" * 9}], "text": "many words " * 99}
    decoded = sample(body, {"user-agent": "x" * 200}, now=now)
    event = receive(monitoring, decoded, now=now).event_id
    bridge = factories.BridgeFactory(organization=organization, name="Operations line")
    silent = factories.HeartbeatFactory(
        organization=organization,
        name="A very long name of a job on the-server-with-the-long-name.branch-office.example.com",
        recipient_groups=[team],
        bridge=bridge,
        now=now - timedelta(minutes=20),
    )
    factories.HeartbeatFactory(organization=organization, name="Switched off", enabled=False)
    factories.HeartbeatFactory(organization=organization, name="Nightly backup", now=now)
    IngestState.objects.update(stored_until=now)  # the pulses of twenty minutes
    tick(now=now)
    alert = organization.alerts.get(integration_type="heartbeat")
    hook = ContactMethod.objects.create(
        user=ines, kind="webhook", label="Hook", address="https://hooks.example.com/x", verified_at=now, position=1
    )
    ContactMethod.objects.create(
        user=ines,
        kind="sms",
        label="SMS-Personal",
        address="+4915123456789",
        position=2,
        send_error="Twilio: 401: Authenticate (code 20003)",
        windows=[
            {"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "starts": "22:00", "ends": "06:00"}
        ],
    )
    AlertRecipient.objects.get_or_create(alert=alert, user=ines)
    weekdays = ["monday", "tuesday", "wednesday", "thursday", "friday"]
    first = str((now - timedelta(days=3)).date())
    shift = make_rotation(
        team, primary=[ines], first=first, name="Office hours", windows=[(weekdays, "00:00", "22:00")]
    )
    cover = factories.UserFactory(organization=organization, name="Max with a long name")
    rota_period = {"starts_at": now - timedelta(hours=1), "ends_at": now + timedelta(days=2)}
    absence = make_absence(ines, cover, **rota_period)
    return {
        "sign-in": "/login/",
        "alerts": "/",
        "alert": f"/alerts/{alert.pk}/",
        "heartbeat": f"/heartbeats/{silent.pk}/",
        "test of the paging": f"/heartbeats/{silent.pk}/test-paging/",
        "profile": "/profile/",
        "contact methods": "/profile/contact-methods/",
        "contact method": f"/profile/contact-methods/{hook.pk}/",
        "configuration": "/admin/",
        "list": f"{INBOUND}?type=heartbeat",
        "form": f"{INBOUND}add/",
        "saved": f"{INBOUND}{silent.pk}/change/",
        "API integrations": f"{INBOUND}?type=api",
        "form of an API integration": f"{INBOUND}add/?type=api",
        "API integration": f"{INBOUND}{monitoring.pk}/change/",
        "event": f"{INBOUND}{monitoring.pk}/events/{event}/",
        "replay": f"{INBOUND}{monitoring.pk}/events/{event}/replay/",
        "mapping": f"{INBOUND}{monitoring.pk}/mapping/",
        "policy": f"/admin/escalation/escalationpolicy/{silent.escalation_policy_id}/change/",
        "policies": "/admin/escalation/escalationpolicy/",
        "group": f"/admin/accounts/group/{team.pk}/change/",
        "on-call": "/on-call/",
        "shifts": "/admin/escalation/shift/",
        "shift": f"/admin/escalation/shift/{shift.pk}/change/",
        "new shift": "/admin/escalation/shift/add/",
        "out of office": "/admin/escalation/outofoffice/",
        "absence": f"/admin/escalation/outofoffice/{absence.pk}/change/",
        "missing": "/nowhere/",
    }


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_no_page_has_a_serious_barrier(chromium, site, organization, ines, team, scheme):
    pages = _furnished(organization, ines, team)
    context = chromium.new_context(base_url=site, color_scheme=scheme)
    page = context.new_page()
    found = {}
    for name, path in pages.items():
        page.goto(path)
        barriers = [
            (violation["id"], [node["html"][:160] for node in violation["nodes"]])
            for violation in Axe().run(page).response["violations"]
            if violation["impact"] in {"serious", "critical"}
        ]
        if barriers:
            found[name] = barriers
        if name == "sign-in":
            sign_in(page)
    context.close()
    assert found == {}


def test_no_page_scrolls_sideways_at_360_pixels(chromium, site, organization, ines, team):
    pages = _furnished(organization, ines, team)
    context = chromium.new_context(base_url=site, viewport={"width": 360, "height": 740})
    page = context.new_page()
    found = {}
    for name, path in pages.items():
        page.goto(path)
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if too_wide > 0:
            found[name] = too_wide
        if name == "sign-in":
            sign_in(page)
    context.close()
    assert found == {}


def test_each_action_works_without_javascript(chromium, site, organization, ines, team):
    pages = _furnished(organization, ines, team)
    context = chromium.new_context(base_url=site, java_script_enabled=False)
    page = context.new_page()
    sign_in(page)
    page.goto(pages["alert"])
    page.get_by_role("button", name="Assign to me").click()
    expect(page.locator(".messages")).to_contain_text("It is yours")
    page.get_by_text("Close…").click()
    page.get_by_label("Reason (optional)").first.fill("done")
    page.get_by_role("button", name="Close the alert").click()
    expect(page.locator(".messages")).to_contain_text("Closed.")
    page.goto(INBOUND)
    page.get_by_label("Type").select_option("Heartbeat")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="+ ADD HEARTBEAT")).to_be_visible()
    context.close()


def test_a_browser_subscribes_to_push_with_our_key_and_our_service_worker(chromium, site, ines):
    """Only the push service behind the browser is played: this machine may have no way to it."""
    context = chromium.new_context(base_url=site, permissions=["notifications"])
    context.set_default_timeout(20_000)
    page = context.new_page()
    sign_in(page, "/profile/contact-methods/")
    page.evaluate(
        """(subscription) => { PushManager.prototype.subscribe = async (options) => {
            const worker = await navigator.serviceWorker.getRegistration();
            return { ...subscription, endpoint: `https://push.example.net/${options.applicationServerKey.length}`
              + `?${new URL(worker.active.scriptURL).pathname}` };
        } }""",
        SUBSCRIPTION,
    )
    page.get_by_label("Label of this browser").fill("Push-Laptop")
    page.get_by_role("button", name="Get alerts in this browser").click()
    expect(page.locator(".messages")).to_contain_text("A code is on its way over Push-Laptop")
    added = ines.contact_methods.get(kind="push")
    assert json.loads(added.address)["endpoint"] == "https://push.example.net/65?/service-worker.js"
    assert added.verified_at is None
    renewed = {**SUBSCRIPTION, "endpoint": "https://push.example.net/renewed"}
    # Only the browser itself can dispatch the event; the program that hears it is the real one.
    context.service_workers[0].evaluate(
        """async (subscription) => {
            const event = new Event("pushsubscriptionchange");
            let done;
            event.waitUntil = (work) => { done = work; };
            event.newSubscription = subscription;
            self.dispatchEvent(event);
            await done;
        }""",
        renewed,
    )
    added.refresh_from_db()
    assert json.loads(added.address)["endpoint"] == "https://push.example.net/renewed"
    assert added.verified_at is None
    context.close()
