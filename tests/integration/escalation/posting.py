"""A mail server whose answers are scripted, and alerts whose people are notified over it."""

import json
import smtplib
import threading
from datetime import timedelta
from urllib.parse import urlencode

from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection

from alerting.models.alerts import Alert
from alerting.services.alerts import AlertDraft, open_alerts
from escalation.channels.signatures import slack_signature
from escalation.engine.start import EscalationStarter, Route
from escalation.responses import tokens
from heartbeat_project.kernel import clock
from integrations.inbound.mails import read_events
from integrations.models.events import InboundEvent

PHONE = "+4915112345678"


class Server:
    """What the server says to each address, in turn; without a script it takes everything."""

    def __init__(self):
        self.script = {}
        self.seen = []
        self.opened = 0

    def answer(self, address, *errors):
        self.script[address] = list(errors)

    def take(self, message):
        (address,) = message.to
        self.seen.append(message)
        if self.script.get(address):
            error = self.script[address].pop(0) if len(self.script[address]) > 1 else self.script[address][0]
            if error is not None:
                raise error

    def sent_to(self):
        return [message.to[0] for message in self.seen]


class ScriptedBackend(BaseEmailBackend):
    server: Server

    def open(self):
        self.server.opened += 1
        return True

    def send_messages(self, messages):
        for message in messages:
            self.server.take(message)
        return len(messages)


def refused(address, code, said=b"no"):
    return smtplib.SMTPRecipientsRefused({address: (code, said)})


def type_of(fields):
    """Return the type of the integration whose alert this is: a heartbeat's, unless its source says otherwise."""
    return "heartbeat" if fields.get("source", "Heartbeat") == "Heartbeat" else ""


def draft(organization, name="backup", *, expected_at=None, **fields):
    return AlertDraft(
        organization_id=organization.pk,
        subject=f"{name} is silent",
        short_text=f"{name} is silent.",
        long_text=f"The heartbeat “{name}” is silent.",
        source_name=name,
        source_id="1",
        priority="high",
        expected_at=expected_at and expected_at.isoformat(),
        **{"facts": [], "source": "Heartbeat", "integration_type": type_of(fields), **fields},
    )


def opened(drafts, *, now):
    """Open alerts and read them back, in the drafts' order."""
    ids = open_alerts(drafts, now=now)
    found = Alert.objects.in_bulk(ids)
    return [found[pk] for pk in ids]


def start(alerts, *, policy=None, play=None, groups=(), users=(), now):
    """Start the runs of alerts that take the same route."""
    group_ids, user_ids = (tuple(each.pk for each in named) for named in (groups, users))
    (organization_id,) = {alert.organization_id for alert in alerts}
    route = Route(organization_id, policy, play, group_ids, user_ids)
    EscalationStarter(now=now).start([(route, [alert.pk for alert in alerts])])


def page(organization, *, policy=None, play=None, groups=(), users=(), now, **fields):
    """Open an alert and start its run."""
    (alert,) = opened([draft(organization, **fields)], now=now)
    start([alert], policy=policy, play=play, groups=groups, users=users, now=now)
    return alert


def bring_mail(client, raw, *, secret="mail-secret"):
    """Bring a mail as the mail server does, and have a worker read it; return the answer and what came of the mail."""
    headers = {"Authorization": f"Bearer {secret}"}
    response = client.post("/api/v1/responses/mail/", raw, content_type="message/rfc822", headers=headers)
    if response.status_code != 202:
        return response, None
    while read_events(now=clock.now()):
        pass
    return response, InboundEvent.objects.get(pk=response.json()["event"])


def press_slack(client, notification, action, *, by="U0ANA", secret="slack-secret", age=timedelta(), **changes):
    """Send what Slack sends when this member presses a button of the message."""
    payload = {
        "type": "block_actions",
        "user": {"id": by, "team_id": "T1"},
        "response_url": "https://hooks.slack.com/actions/T/1/x",
        "actions": [{"action_id": f"heartbeat.{action}", "value": tokens.button(notification.pk)}],
    }
    body = urlencode({"payload": json.dumps(payload | changes)})
    stamp = str(int((clock.now() - age).timestamp()))
    signature = slack_signature(body.encode(), timestamp=stamp, secret=secret)
    headers = {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": stamp}
    form = "application/x-www-form-urlencoded"
    return client.post("/api/v1/responses/slack/", body, content_type=form, headers=headers)


def race(act, *, workers):
    """Do the same in several threads with connections of their own, at the same moment; return the results."""
    results, faults = [], []
    barrier = threading.Barrier(workers)

    def run():
        try:
            barrier.wait(timeout=20)
            results.append(act())
        except Exception as error:  # noqa: BLE001 - the test's own thread says it
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults
    return results
