"""Mails over SMTP to the real processes: an alert within two seconds, a ping, and nothing lost without the database."""

import os
import smtplib
import socket
import time

import pytest

from tests.processes import PostOffice, free_port, running_stack, until

pytestmark = pytest.mark.serial


def send(port, address, subject, text="text"):
    """Send a mail as any program does; return the answer's code."""
    with smtplib.SMTP("127.0.0.1", port, timeout=40) as client:
        try:
            client.sendmail(
                "mon@db1.example.org", [address], f"From: mon@x\r\nSubject: {subject}\r\n\r\n{text}\r\n".encode()
            )
        except smtplib.SMTPRecipientsRefused as refused:
            ((code, _text),) = refused.recipients.values()
            return code
        return 250


def is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def email_integration(stack):
    policy = stack.get("/api/v1/escalation-policies/")[1]["results"][-1]["id"]
    fields = {"type": "email", "name": "Nagios", "escalation_policy": policy, "recipient_users": [stack.person("ana")]}
    return stack.post("/api/v1/integrations/", fields)


def live(stack, integration):
    return [alert["status"] for alert in stack.alerts(integration["id"])]


def test_mails_open_and_close_alerts_and_ping_heartbeats():
    port = free_port()
    with PostOffice() as post, running_stack(EMAIL_URL=post.url, HEARTBEAT_SMTP_PORT=str(port)) as stack:
        nagios = email_integration(stack)
        job = stack.heartbeat("job", interval_minutes=60)

        sent = time.monotonic()
        assert send(port, nagios["email_address"], "PROBLEM: web1 is DOWN") == 250
        until(lambda: live(stack, nagios) == ["open"], seconds=30, what=f"an alert\n{stack.tail()}")
        took = time.monotonic() - sent
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others who share the cores are not its fault
        assert took < 3 * busy, took
        until(lambda: post.to("ana@example.com"), seconds=20, what="a page")
        assert send(port, nagios["email_address"], "RECOVERY: web1 is UP") == 250
        until(lambda: live(stack, nagios) == ["closed"], seconds=30, what="closed")

        assert send(port, job["email_address"], "backup has run") == 250
        until(lambda: stack.get(f"/api/v1/integrations/{job['id']}/")[1]["ping_count"] == 1, seconds=30, what="a ping")


@pytest.mark.long
def test_a_database_or_mail_server_that_is_away_loses_no_mail_and_makes_none_up():
    """The short form is in integration/integrations/smtp: there the database is away for one connection."""
    port = free_port()
    with PostOffice() as post, running_stack(EMAIL_URL=post.url, HEARTBEAT_SMTP_PORT=str(port)) as stack:
        nagios = email_integration(stack)
        assert send(port, nagios["email_address"], "PROBLEM: web1 is DOWN") == 250
        # Without the database nothing is taken, and nothing comes of it afterwards.
        with stack.frozen("postgres"):
            assert send(port, nagios["email_address"], "PROBLEM: db1 is DOWN") == 451
        until(stack.ready, seconds=60, what="ready again")
        killed = stack.kill("mail")
        stack.comes_back("mail", after=killed)
        until(lambda: is_listening(port), seconds=30, what="it listens")
        assert send(port, nagios["email_address"], "PROBLEM: db2 is DOWN") == 250
        until(lambda: len(live(stack, nagios)) == 2, seconds=30, what="a second alert")
        subjects = [alert["subject"] for alert in stack.alerts(nagios["id"])]
        assert sorted(subjects) == ["db2 is DOWN", "web1 is DOWN"], subjects
