"""A request that would wait for a lock is answered in time, and carried out by a worker."""

import threading
import time

import pytest
from django.db import connection, transaction

from alerting.models.alerts import Alert
from integrations.models.chat import ChatMessage
from integrations.models.events import EventState
from tests.chats import command

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_is_answered_within_the_time_and_done_later(slack, post, platform, written):
    locked, done = threading.Event(), threading.Event()

    def hold():
        try:
            with transaction.atomic():
                EventState.objects.select_for_update().get(pk=slack.pk)
                locked.set()
                done.wait(10)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert locked.wait(5)
        body = command("Disk full", response_url=f"{platform.url}/commands/3")
        began = time.monotonic()
        answer = post(slack, body)
        took = time.monotonic() - began
    finally:
        done.set()
        holder.join()
    assert answer.json()["text"] == "This takes longer than usual; the answer follows."
    assert took < 2.5
    assert not Alert.objects.exists()
    assert ChatMessage.objects.get().kind == "work"
    sent = dict(written())
    assert Alert.objects.get().subject == "Disk full"
    assert "opened" in sent["/commands/3"]["text"]
    # Slack sends it again: it is the same one.
    assert "was opened" in post(slack, body).json()["text"]
    assert Alert.objects.count() == 1
