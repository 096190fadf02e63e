"""An integration is deleted or disabled while an event opens an alert: the alert does not stay open for ever."""

import threading
from functools import partial

import pytest
from django.db import connection, connections

from alerting.models.alerts import Alert
from integrations.configuration import edits
from integrations.configuration.edits import delete_integration, rotate_token
from integrations.inbound import edits as event_edits
from integrations.inbound import receive as receiving
from integrations.inbound.addresses import api_integration
from integrations.inbound.edits import update_event_integration
from integrations.inbound.event import ReceivedEvent
from integrations.models.events import InboundEvent
from tests import factories
from tests.factories import WHEN
from tests.processes import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


@pytest.fixture
def shop():
    ana = factories.UserFactory(name="Ana")
    return factories.ApiIntegrationFactory(organization=ana.organization, name="Shop", recipient_users=[ana])


def delete(shop):
    delete_integration(shop, actor=None, now=WHEN)


def disable(shop):
    update_event_integration(shop, actor=None, now=WHEN, enabled=False)


def rotate(shop):
    rotate_token(shop, actor=None, now=WHEN)


def while_an_event_opens_an_alert(shop, edit, monkeypatch):
    """Run `edit` once the event's alert is open and not committed; return whether it had to wait for the event."""
    is_open, go_on, edited = threading.Event(), threading.Event(), threading.Event()
    real, errors = receiving._keep, []

    def keep(*args, **named):
        is_open.set()
        assert go_on.wait(30)
        return real(*args, **named)

    def run(act):
        try:
            act()
        except Exception as error:  # noqa: BLE001 - the test asserts on it
            errors.append(error)
        finally:
            connections.close_all()

    monkeypatch.setattr(receiving, "_keep", keep)
    integration = api_integration(shop.token, now=WHEN)
    event = ReceivedEvent(raw=b"{}", received_at=WHEN, payload={"title": "db1 is down"})
    threads = [threading.Thread(target=run, args=[partial(receiving.receive, integration, event, now=WHEN)])]
    threads[0].start()
    assert is_open.wait(30)

    def edit_now():
        edit(shop)
        edited.set()

    threads.append(threading.Thread(target=run, args=[edit_now]))
    threads[1].start()
    until(lambda: edited.is_set() or errors or somebody_waits(), seconds=30, what="the edit is done or waits")
    has_waited = not edited.is_set()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert errors == []
    return has_waited


def somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0]


@pytest.mark.parametrize("edit", [delete, disable])
def test_the_alert_of_an_event_that_was_first_is_closed_by_the_edit(shop, edit, monkeypatch):
    assert while_an_event_opens_an_alert(shop, edit, monkeypatch)
    assert Alert.objects.get().status == "closed"


@pytest.mark.parametrize("edit", [delete, disable])
def test_without_the_lock_the_alert_would_stay_open(shop, edit, monkeypatch):
    for module in (edits, event_edits):
        monkeypatch.setattr(module, "lock", lambda integration: integration)
    while_an_event_opens_an_alert(shop, edit, monkeypatch)
    assert Alert.objects.get().status == "open"


def test_a_new_token_does_not_lose_the_event_that_came_to_the_old_one(shop, monkeypatch):
    old = shop.token
    while_an_event_opens_an_alert(shop, rotate, monkeypatch)
    assert (Alert.objects.get().status, InboundEvent.objects.count()) == ("open", 1)
    assert api_integration(old, now=WHEN) is None
