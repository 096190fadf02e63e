"""Two clients send a change with the same ETag at the same moment: one is done, the other is a 412; real connections."""

import threading
from contextlib import suppress

import pytest
from rest_framework.test import APIClient

from accounts.api.viewsets import InOrganization
from accounts.services.api_keys import create_api_key
from integrations.api.integrations import IntegrationViewSet
from tests import factories
from tests.concurrency.test_detectors import at_once
from tests.factories import WHEN

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.serial,
    pytest.mark.usefixtures("close_connections"),
]


@pytest.fixture
def owner():
    return factories.UserFactory(roles=["Owner"])


def objects(owner):
    organization = owner.organization
    heartbeat = factories.HeartbeatFactory(organization=organization)
    group = factories.GroupFactory(organization=organization, primary=[owner])
    return {
        f"/api/v1/groups/{group.pk}/": [{"members": []}, {"groups": [], "description": "new"}],
        f"/api/v1/integrations/{heartbeat.pk}/": [{"interval_minutes": 6}, {"name": "new"}],
        f"/api/v1/contact-methods/{owner.contact_methods.get().pk}/": [{"delay_minutes": 1}, {"repeat_count": 1}],
    }


def send_at_once(owner, address, bodies, compared, monkeypatch, *, wait):
    """Send the changes; each waits up to `wait` seconds until both have compared the ETag. Return the status codes."""
    _, key = create_api_key(owner, name="test", now=WHEN)
    etag = client(key).get(address)["ETag"]
    real, mine = InOrganization.etag_of, threading.local()

    def etag_of(view, instance):
        found = real(view, instance)
        if not getattr(mine, "has_met", False):
            mine.has_met = True
            # Broken while the other one waits for the lock.
            with suppress(threading.BrokenBarrierError):
                compared.wait(timeout=wait)
        return found

    monkeypatch.setattr(InOrganization, "etag_of", etag_of)
    codes = []

    def send(body):
        codes.append(client(key).patch(address, body, format="json", headers={"If-Match": etag}).status_code)

    assert at_once(*(lambda body=body: send(body) for body in bodies)) == []
    return sorted(codes)


def client(key):
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return api


@pytest.mark.parametrize("number", range(3))
def test_one_is_done_and_the_other_is_a_412(owner, monkeypatch, number):
    address, bodies = list(objects(owner).items())[number]

    assert send_at_once(owner, address, bodies, threading.Barrier(2), monkeypatch, wait=0.5) == [200, 412]


@pytest.mark.parametrize("number", range(3))
def test_without_the_lock_both_would_be_done(owner, monkeypatch, number):
    address, bodies = list(objects(owner).items())[number]
    for view in (InOrganization, IntegrationViewSet):  # integrations have a lock of their own
        monkeypatch.setattr(view, "lock", lambda view, instance: None)

    assert send_at_once(owner, address, bodies, threading.Barrier(2), monkeypatch, wait=30) == [200, 200]
