"""A heartbeat's page: where it stands, and whether the person is told of its silence."""

import pytest
from django.test import Client

from tests import factories

pytestmark = pytest.mark.django_db

ALONE = "without you, it would reach nobody"
NOBODY = "nobody would be told in the first step"


@pytest.fixture
def organization():
    return factories.OrganizationFactory()


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana")


@pytest.fixture
def ben(organization):
    return factories.UserFactory(organization=organization, name="Ben")


@pytest.fixture
def job(organization, ana, ben):
    return factories.HeartbeatFactory(organization=organization, name="Night <backup>", recipient_users=[ana, ben])


@pytest.fixture
def client(ana):
    return browser(ana)


def browser(user):
    client = Client()
    client.force_login(user)
    return client


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def test_a_person_opts_out_and_in_again(client, ana, job):
    page = f"/heartbeats/{job.pk}/"
    assert f'href="{page}"' in text(client.get("/"))
    shown = text(client.get(page))
    assert "Night &lt;backup&gt;" in shown
    assert "You are told when this falls silent" in shown
    assert ALONE not in shown
    stopped = text(client.post(f"{page}tell-me/stop/", follow=True))
    assert "You are not told when this falls silent" in stopped
    assert NOBODY not in stopped
    assert ana.opt_outs.get().integration_id == job.pk
    again = text(client.post(f"{page}tell-me/again/", follow=True))
    assert "You are told when this falls silent" in again
    assert not ana.opt_outs.exists()


def test_looking_changes_nothing(client, ana, job):
    assert client.get(f"/heartbeats/{job.pk}/tell-me/stop/").status_code == 405
    assert not ana.opt_outs.exists()


def test_the_page_says_when_nobody_would_be_left_in_the_first_step(client, ben, job):
    browser(ben).post(f"/heartbeats/{job.pk}/tell-me/stop/")
    assert ALONE in text(client.get(f"/heartbeats/{job.pk}/"))
    stopped = text(client.post(f"/heartbeats/{job.pk}/tell-me/stop/", follow=True))
    assert "the first step of “Night &lt;backup&gt;” reaches nobody" in stopped
    assert NOBODY in stopped
    assert ALONE not in stopped


def test_why_nobody_is_told_is_said_to_who_may_foresee_it(client, organization):
    empty = factories.GroupFactory(organization=organization, name="Secret team")
    job = factories.HeartbeatFactory(organization=organization, recipient_groups=[empty])
    shown = text(client.get(f"/heartbeats/{job.pk}/"))
    assert NOBODY in shown
    assert "Secret team" not in shown
    assert "Who would be told?" not in shown
    ines = factories.UserFactory(organization=organization, roles=["Integrations Admin"])
    assert "Secret team" in text(browser(ines).get(f"/heartbeats/{job.pk}/"))


def test_the_profile_lists_what_one_opted_out_of_and_takes_it_back(client, ana, job):
    assert "You have opted out of nothing" in text(client.get("/profile/"))
    client.post(f"/heartbeats/{job.pk}/tell-me/stop/")
    ana.opt_outs.create(integration_id=job.pk + 1_000, created_at=job.created_at)  # it was deleted since
    assert "Night &lt;backup&gt;" in text(client.get("/profile/"))
    response = client.post(f"/heartbeats/{job.pk}/tell-me/again/", {"from": "profile"})
    assert response["Location"] == "/profile/"
    assert "You have opted out of nothing" in text(client.get("/profile/"))


def test_only_what_one_may_see_can_be_opted_out_of(client, ana, organization, job):
    strange = factories.HeartbeatFactory()
    billing = factories.UserFactory(organization=organization, roles=["Billing Admin"])
    for asking, integration in ((client, strange), (browser(billing), job)):
        for path in ("", "tell-me/stop/", "tell-me/again/"):
            method = asking.post if path else asking.get
            assert method(f"/heartbeats/{integration.pk}/{path}").status_code == 404
    assert not ana.opt_outs.exists()
    assert not billing.opt_outs.exists()


def test_the_url_of_the_heartbeat_is_not_shown(client, job):
    assert job.token not in text(client.get(f"/heartbeats/{job.pk}/"))
