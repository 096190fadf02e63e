"""A mail server whose answers are scripted, and alerts whose people are told over it."""

import smtplib

from django.core.mail.backends.base import BaseEmailBackend

from alerting.services import AlertDraft, open_alerts
from escalation.services.runs import RunStart, start_runs


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


def draft(organization, name="backup", **fields):
    return AlertDraft(
        organization_id=organization.pk,
        subject=f"{name} is silent",
        short_text=f"{name} is silent.",
        long_text=f"The heartbeat “{name}” is silent.",
        source="Heartbeat",
        source_name=name,
        source_id="1",
        priority="high",
        **{"facts": [], **fields},
    )


def page(organization, *, policy=None, play=None, groups=(), users=(), now, **fields):
    """Open an alert and start its run."""
    (alert,) = open_alerts([draft(organization, **fields)], now=now)
    start = RunStart(
        alert=alert,
        policy=policy,
        play=play,
        group_ids=[group.pk for group in groups],
        user_ids=[user.pk for user in users],
    )
    start_runs([start], now=now)
    return alert
