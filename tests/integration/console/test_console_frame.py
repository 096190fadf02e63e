"""The frame of all pages: what its menus offer to whom, and what the strip says is wrong."""

import pytest
from django.test import Client

from heartbeat_project.console import own_troubles
from heartbeat_project.kernel import clock
from integrations.models.mails import CoverageWatch
from integrations.ping_lane.health import PROCESS_HEALTH
from tests import factories

pytestmark = pytest.mark.django_db


def browser(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def shown(organization):
    def page(*roles, path="/alerts/"):
        user = factories.UserFactory(organization=organization, roles=roles)
        return browser(user).get(path).content.decode()

    return page


ADDS = {
    "/alerts/new/": {"Owner", "App Admin", "Integrations Admin", "Send Message"},
    "/admin/integrations/inboundintegration/add/?type=heartbeat": {"Owner", "App Admin", "Integrations Admin"},
    "/admin/escalation/shift/add/?is_override=1": {"Owner", "App Admin"},
    "/admin/integrations/maintenancewindow/add/": {"Owner", "App Admin", "Integrations Admin"},
}


@pytest.mark.parametrize(
    "role",
    ["Owner", "App Admin", "Integrations Admin", "Basic", "Billing Admin", "Send Message", "System Viewer"],
)
def test_the_menu_offers_what_one_may_add_and_every_entry_is_there(organization, role):
    client = browser(factories.UserFactory(organization=organization, roles=[role]))
    page = client.get("/on-call/").content.decode().split("</header>")[0]
    for address, roles in ADDS.items():
        assert (f'href="{address}"' in page) == (role in roles), address
        if role in roles:
            assert client.get(address).status_code == 200, address
    assert ('href="/admin/"' in page) == (role in {"Owner", "App Admin", "Integrations Admin"})
    assert "Reports" not in page


def test_the_troubles_is_there_only_if_something_is_wrong(shown, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    for path in ("/alerts/", "/on-call/", "/admin/"):
        assert '<ul class="troubles" aria-label="What is wrong with Heartbeat" hidden>' in shown("App Admin", path=path)


def test_the_troubles_says_how_many_reach_nobody_to_who_may_look(organization, shown):
    CoverageWatch.objects.create(organization=organization, due_at=clock.now(), uncovered=3)
    assert "3 integrations would have reached nobody." in shown("Integrations Admin")
    assert 'href="/heartbeats/coverage-gaps/">Coverage gaps</a>' in shown("Owner")
    assert "would have reached" not in shown("Basic")


def test_the_troubles_says_that_alerts_are_late_to_everybody(shown, monkeypatch):
    monkeypatch.setattr(own_troubles, "_LAST_LOOK", own_troubles._LastLook())
    monkeypatch.setattr(PROCESS_HEALTH, "began_at", clock.now().replace(year=2020))
    page = shown("Basic")
    assert "No engine worker has worked since the first start." in page
    assert 'href="/readyz">Details</a>' in page


def test_a_theme_is_kept_by_the_browser_and_a_way_back_leads_to_us_alone(organization):
    client = browser(factories.UserFactory(organization=organization))
    answer = client.post("/profile/theme/", {"theme": "dark", "next": "/on-call/?x=1"})
    assert answer["Location"] == "/on-call/?x=1"
    assert 'data-theme="dark"' in client.get("/on-call/").content.decode()
    for elsewhere in ("https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)", ""):
        answer = client.post("/profile/theme/", {"theme": "no theme", "next": elsewhere})
        assert answer["Location"] == "/alerts/"
    assert "data-theme" not in client.get("/on-call/").content.decode()
    assert client.get("/profile/theme/").status_code == 405


def test_the_zone_of_the_browser_is_saved_or_kept(organization):
    user = factories.UserFactory(organization=organization, time_zone="UTC")
    client = browser(user)
    assert 'data-zone="UTC"' in client.get("/on-call/").content.decode()
    client.post("/profile/time-zone/", {"zone": "Nowhere/Else", "next": "/on-call/"})
    user.refresh_from_db()
    assert user.time_zone == "UTC"
    client.post("/profile/time-zone/", {"zone": "Europe/Istanbul", "keep": "1", "next": "/on-call/"})
    user.refresh_from_db()
    assert user.time_zone == "UTC"
    assert "data-zone=" not in client.get("/on-call/").content.decode()
    client.post("/profile/time-zone/", {"zone": "Europe/Istanbul", "next": "/on-call/"})
    user.refresh_from_db()
    assert user.time_zone == "Europe/Istanbul"


def test_heartbeats_have_a_list_of_their_own(organization):
    factories.HeartbeatFactory(organization=organization, name="backup")
    page = browser(factories.UserFactory(organization=organization)).get("/heartbeats/").content.decode()
    assert "backup" in page
    assert browser(factories.UserFactory(roles=["Billing Admin"])).get("/heartbeats/").status_code == 403
    assert browser(factories.UserFactory(organization=organization)).get("/groups/")["Location"] == "/on-call/"
    assert Client().get("/heartbeats/")["Location"] == "/login/?next=/heartbeats/"
