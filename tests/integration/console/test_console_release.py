"""The strip on every page of a held installation, and the button for whoever runs it."""

import pytest
from django.test import Client

from accounts.models.installation import Restore
from accounts.services.restores import hold
from integrations.models.outages import Outage
from tests import factories
from tests.world import minutes

pytestmark = pytest.mark.django_db

STRIP = "Held since a restore: this is the backup of 2026-03-02 11:50:00 UTC"
PAGES = ["/alerts/", "/on-call/", "/profile/", "/profile/contact-methods/"]
ADMIN = ["/admin/", "/admin/integrations/inboundintegration/", "/admin/accounts/user/", "/admin/system/"]


@pytest.fixture
def owner():
    return factories.UserFactory(roles=["Owner"])


@pytest.fixture
def held(now):
    hold(taken_at=now - minutes(10), now=now)


def browser(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("page", PAGES + ADMIN)
def test_every_page_says_that_it_is_held_and_how_to_release_it(owner, held, page):
    shown = browser(owner).get(page).content.decode()
    assert STRIP in shown
    assert 'href="/release/"' in shown


def test_the_sign_in_page_says_it_too_and_offers_nothing(owner, held):
    shown = Client().get("/login/").content.decode()
    assert STRIP in shown
    assert "/release/" not in shown


def test_others_see_whom_to_ask(owner, held):
    shown = browser(factories.UserFactory(organization=owner.organization)).get("/alerts/").content.decode()
    assert STRIP in shown
    assert "Ask the operator of this installation" in shown
    assert "/release/" not in shown


@pytest.mark.parametrize("page", ["/alerts/", "/admin/"])
def test_nothing_is_shown_when_nothing_is_held(owner, page):
    assert 'class="held"' not in browser(owner).get(page).content.decode()


def test_releasing_is_confirmed_with_what_it_does(owner, held):
    factories.HeartbeatFactory(organization=owner.organization)
    client = browser(owner)
    shown = client.get("/release/").content.decode()
    for said in (
        "Release this installation",
        "does not run any more: otherwise both notify people",
        "1 running timer is recalculated",
        "0 alerts are open",
        "0 messages wait to be sent",
    ):
        assert said in shown
    assert Restore.objects.get().released_at is None, "looking changes nothing"

    shown = client.post("/release/", follow=True).content.decode()

    assert "Released. Deadlines are judged and people are notified again." in shown
    assert STRIP not in shown
    assert Restore.objects.get().released_by == owner
    assert Outage.objects.count() == 1
    assert "was released already" in client.post("/release/", follow=True).content.decode()
    assert "This installation is not held" in client.get("/release/").content.decode()


def test_nobody_else_may_release(owner, held):
    other = factories.UserFactory(organization=factories.OrganizationFactory(), roles=["Owner"])
    for user in (other, factories.UserFactory(organization=owner.organization, roles=["App Admin"])):
        assert browser(user).get("/release/").status_code == 403
        assert browser(user).post("/release/").status_code == 403
    assert Client().post("/release/").status_code == 302
    assert Restore.objects.get().released_at is None
