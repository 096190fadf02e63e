"""In a real browser: a newcomer gets from the list to the first alert of an API integration, and maps its fields."""

import subprocess
import time

import pytest
from django.db import connection
from playwright.sync_api import expect

from alerting.models.alerts import Alert
from heartbeat_project.kernel import clock
from integrations.inbound.mails import read_events
from integrations.models.integrations import InboundIntegration
from integrations.smtp.server import Limits
from tests import factories
from tests.e2e.test_browser_seed_walk import INBOUND, sign_in
from tests.mail_servers import MailServer, config_of

pytestmark = [pytest.mark.browser, pytest.mark.serial, pytest.mark.django_db(transaction=True)]


def test_from_add_api_to_the_first_alert_in_under_a_minute(page, team):
    sign_in(page, INBOUND)
    begun = time.monotonic()
    page.get_by_label("Type").select_option("API")
    page.get_by_role("link", name="+ ADD API").click()
    page.get_by_label("Integration Name").fill("Monitoring")
    page.get_by_label("Escalation Policy / Response Play").select_option("Escalate after 5 minutes, user preference")
    page.get_by_label("Operations", exact=True).check()
    page.get_by_role("button", name="Submit").click()

    state = page.locator("#state")
    expect(state).to_contain_text("Waiting for the first event")
    page.get_by_role("button", name="COPY the curl line").click()
    expect(page.locator("#curl-said")).to_have_text("Copied")
    line = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=20, check=True)
    assert '"action": "opened"' in done.stdout or '"action":"opened"' in done.stdout

    # The page brings itself up to date: nobody loads it again.
    expect(state).to_contain_text("Opened an alert")
    expect(state).to_contain_text("Disk full on db1")
    expect(state.get_by_role("region", name="Payload of the newest event")).to_contain_text("check disk")
    alert = Alert.objects.get()
    page.locator("#newest").get_by_role("link", name=f"Alert {alert.pk}").click()
    expect(page.get_by_role("heading", name="Disk full on db1")).to_be_visible()
    assert time.monotonic() - begun < 60
    assert page.troubles == []


def test_a_click_on_a_value_puts_its_path_into_the_field_and_the_result_follows(page, organization, ines):
    integration = factories.ApiIntegrationFactory(organization=organization, name="Monitoring")
    sign_in(page, f"{INBOUND}{integration.pk}/mapping/")
    page.get_by_label("Subject", exact=True).fill("On : look")
    page.get_by_label("Subject", exact=True).evaluate("field => field.setSelectionRange(3, 3)")
    page.get_by_role("button", name="db1", exact=True).click()
    expect(page.get_by_label("Subject", exact=True)).to_have_value("On {{ payload.host }}: look")
    expect(page.locator("#result-subject")).to_contain_text("On db1: look")
    expect(page.get_by_label("Subject", exact=True)).to_be_focused()
    page.get_by_label("Subject", exact=True).fill("{{ payload.host")
    expect(page.locator("#result-subject .fault")).to_be_visible()
    page.get_by_label("Subject", exact=True).fill("{{ payload.host }}")
    expect(page.locator("#result-subject .fault")).to_have_count(0)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".messages")).to_contain_text("The mapping and the rules are saved.")
    assert InboundIntegration.objects.get().event_settings.mapping == {"subject": "{{ payload.host }}"}
    assert page.troubles == []


def test_from_add_email_to_the_first_alert_by_the_copied_line(page, team, settings):
    with MailServer(config_of(connection, secret=settings.SECRET_KEY), Limits()) as server:
        settings.SMTP_PORT = server.port
        sign_in(page, INBOUND)
        page.get_by_label("Type").select_option("Email")
        page.get_by_role("link", name="+ ADD EMAIL").click()
        page.get_by_label("Integration Name").fill("Nagios")
        page.get_by_label("Escalation Policy / Response Play").select_option(
            "Escalate after 5 minutes, user preference"
        )
        page.get_by_label("Operations", exact=True).check()
        page.get_by_role("button", name="Submit").click()

        state = page.locator("#state")
        expect(state).to_contain_text("Waiting for the first event")
        page.get_by_role("button", name="COPY the line that sends a mail").click()
        expect(page.locator("#smtp-said")).to_have_text("Copied")
        line = page.evaluate("navigator.clipboard.readText()")
        subprocess.run(line, shell=True, capture_output=True, text=True, timeout=20, check=True)
        while read_events(now=clock.now()):
            pass

        # The page brings itself up to date: nobody loads it again.
        expect(state).to_contain_text("Opened an alert")
        expect(page.locator(".log.events")).to_contain_text("PROBLEM: web1 is DOWN")
        assert Alert.objects.get().subject == "web1 is DOWN"
        assert page.troubles == []
