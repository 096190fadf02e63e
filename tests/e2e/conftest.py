"""A real browser, and an organization whose pages it walks."""

import os
import shutil

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from playwright.sync_api import expect, sync_playwright

from tests import factories

PASSWORD = "correct horse 12"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium(django_db_setup):
    program = os.environ.get("HEARTBEAT_CHROMIUM") or shutil.which("chromium")
    assert program, "There is no Chromium: install it, or name one in HEARTBEAT_CHROMIUM."
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        # Playwright keeps a loop in this thread; the tests themselves are as synchronous as ever.
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        expect.set_options(timeout=20_000)  # the pages look for news every few seconds
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def site(chromium, live_server, settings, close_connections, monkeypatch):
    # As in the product: static files come from our middleware, and not from Django's handler for trials.
    monkeypatch.setattr(StaticFilesHandler, "_should_handle", lambda *_: False)
    settings.BASE_URL = live_server.url
    return live_server.url


@pytest.fixture
def organization(site):
    return factories.OrganizationFactory(name="Acme Freight")


@pytest.fixture
def ines(organization):
    return factories.UserFactory(
        organization=organization,
        name="Ines",
        email="ines@example.com",
        roles=["Integrations Admin"],
        password=PASSWORD,
        time_zone="Europe/Berlin",
    )


@pytest.fixture
def team(organization, ines):
    return factories.GroupFactory(organization=organization, name="Operations", primary=[ines])


@pytest.fixture
def page(chromium, site):
    context = chromium.new_context(base_url=site, permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.troubles = []
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("console", lambda said: page.troubles.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
