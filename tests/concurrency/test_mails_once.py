"""Two workers read the same mail at the same moment; with real connections."""

from datetime import timedelta

import pytest

from alerting.models.alerts import TimelineEntry
from escalation.models.notifications import Notification
from escalation.responses import tokens
from integrations.inbound import mails
from integrations.inbound.mails import LEASE, read_events, store_mail
from integrations.models.events import InboundEvent
from tests import factories
from tests.concurrency.test_detectors import at_once
from tests.integration.escalation.posting import page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


@pytest.fixture
def note(now, settings):
    settings.REPLY_ADDRESS = "alerts@reply.example.org"
    ana = factories.UserFactory(name="Ana")
    policy = factories.PolicyFactory(organization=ana.organization, steps=[{"role": "primary"}])
    page(ana.organization, policy=policy, users=[ana], now=now)
    Notification.objects.update(status="accepted", accepted_at=now, next_attempt_at=None)
    return Notification.objects.get()


def read_twice(note, *, now):
    """Let a second worker begin when the lease of the first has just ended, and both act at the same moment."""
    store_mail(f"To: {tokens.reply_address(note.pk)}\n\nnote: on my way".encode(), now=now)
    raised = at_once(lambda: read_events(now=now), lambda: read_events(now=now + LEASE))
    assert raised == []
    while read_events(now=now + 3 * LEASE):
        pass


@pytest.mark.parametrize("_", range(2))
def test_a_mail_is_acted_upon_once_though_a_lease_ends_meanwhile(note, now, close_connections, _):
    read_twice(note, now=now + timedelta(seconds=5))
    event = InboundEvent.objects.get()
    assert event.result[0]["action"] == "answered"
    assert TimelineEntry.objects.filter(kind="replied").count() == 1
    assert Notification.objects.filter(kind="notice").count() == 1


def test_without_the_lock_of_the_event_its_result_is_another(note, now, close_connections, monkeypatch):
    """The use of the reply is unique all the same; what is lost is what the event says came of it."""
    monkeypatch.setattr(mails, "_is_ours", lambda _: True)
    store_mail(f"To: {tokens.reply_address(note.pk)}\n\nnote: on my way".encode(), now=now)
    (event,) = mails._claim(now=now)
    (mail,) = mails.read_mails([bytes(event.raw)]).mails
    for _ in range(2):
        mails._finish(event, mail, now=now + timedelta(seconds=5))
    assert InboundEvent.objects.get().result[0]["action"] == "ignored"
