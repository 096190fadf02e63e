"""What the log of a heartbeat says after a change."""

import pytest

from integrations.heartbeats.edits import update_heartbeat
from integrations.models.heartbeats import HeartbeatEvent
from tests import factories

pytestmark = pytest.mark.django_db


def test_it_names_the_recipients_that_changed_and_no_others(now):
    backup = factories.HeartbeatFactory()
    group = factories.GroupFactory(organization=backup.organization)
    people = list(backup.recipient_users.all())

    # As a form sends it: all fields, though only one is different.
    update_heartbeat(backup, actor=None, now=now, recipient_groups=[group], recipient_users=people)
    update_heartbeat(backup, actor=None, now=now, recipient_groups=[group], recipient_users=people)

    events = HeartbeatEvent.objects.filter(integration=backup, kind=HeartbeatEvent.Kind.CHANGED)
    assert [event.text for event in events] == ["Changed: recipient groups."]
