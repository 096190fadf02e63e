"""The worker that reads mails is killed between its statements: no reply is lost, and none is acted upon twice."""

import itertools

import pytest
from django.db import connection

from alerting.models.alerts import Alert, TimelineEntry
from escalation.models.notifications import Notification
from escalation.models.responses import Response
from escalation.responses import tokens
from integrations.inbound.mails import LEASE, read_events, store_mail
from integrations.models.events import InboundEvent
from tests import factories
from tests.faults.mortal import mortal
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db(transaction=True)

READ = "integrations.inbound.mails.read_events"


@pytest.fixture(scope="module")
def worker(django_db_setup):
    with mortal(database=connection.settings_dict["NAME"]) as worker:
        yield worker


def test_a_reply_is_acted_upon_once_wherever_its_reader_dies(worker, now, settings):
    settings.REPLY_ADDRESS = "alerts@reply.example.org"
    ana = factories.UserFactory(name="Ana")
    policy = factories.PolicyFactory(organization=ana.organization, steps=[{"role": "primary"}])
    places = []
    # All statements of the claim and the first after it, which is as while it reads; then each fourth.
    for place in itertools.chain(range(1, 5), itertools.count(5, 4)):
        alert = page(ana.organization, policy=policy, users=[ana], name=f"job {place}", now=now)
        Notification.objects.filter(alert=alert).update(status="accepted", accepted_at=now, next_attempt_at=None)
        to = tokens.reply_address(Notification.objects.get(alert=alert).pk)
        event = store_mail(f"To: {to}\nMessage-ID: <{place}@x>\n\nack".encode(), now=now)
        end = worker.work(now=now, place=place, work=READ)
        if not end.killed:
            break
        places.append(end.at)
        # Its answer is written with its result, or neither is.
        event.refresh_from_db()
        is_done = event.state == InboundEvent.State.READ
        assert (Alert.objects.get(pk=alert.pk).acknowledged_at is not None) == is_done, end.at
        for _ in range(2):
            now += LEASE
            read_events(now=now)
        event.refresh_from_db()
        assert (event.state, event.result[0]["alert"]) == ("read", alert.pk), end.at
        kinds = list(TimelineEntry.objects.filter(alert=alert).values_list("kind", flat=True))
        assert kinds.count("acknowledged") == 1, end.at
        assert Response.objects.filter(alert=alert).count() == 1, end.at
        assert Notification.objects.filter(kind="notice", subject=f"Re: alert #{alert.pk}").count() == 1, end.at
    assert len(places) > 8, places
