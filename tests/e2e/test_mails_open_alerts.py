"""Mails over SMTP to the real processes: an alert within two seconds, a ping, and nothing lost without the database."""

import os
import smtplib
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


def test_mails_open_and_close_alerts_and_ping_heartbeats():
    port = free_port()
    with PostOffice() as post, running_stack(EMAIL_URL=post.url, HEARTBEAT_SMTP_PORT=str(port)) as stack:
        policy = stack.get("/api/v1/escalation-policies/")[1]["results"][-1]["id"]
        fields = {
            "type": "email",
            "name": "Nagios",
            "escalation_policy": policy,
            "recipient_users": [stack.person("ana")],
        }
        nagios = stack.post("/api/v1/integrations/", fields)
        job = stack.heartbeat("job", interval_minutes=60)

        def live():
            return [alert["status"] for alert in stack.alerts(nagios["id"])]

        sent = time.monotonic()
        assert send(port, nagios["email_address"], "PROBLEM: web1 is DOWN") == 250
        until(lambda: live() == ["open"], seconds=30, what=f"an alert\n{stack.tail()}")
        took = time.monotonic() - sent
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others who share the cores are not its fault
        assert took < 3 * busy, took
        until(lambda: post.to("ana@example.com"), seconds=20, what="a page")
        assert send(port, nagios["email_address"], "RECOVERY: web1 is UP") == 250
        until(lambda: live() == ["closed"], seconds=30, what="closed")

        assert send(port, job["email_address"], "backup has run") == 250
        until(lambda: stack.get(f"/api/v1/integrations/{job['id']}/")[1]["ping_count"] == 1, seconds=30, what="a ping")

        # Without the database nothing is taken, and nothing comes of it afterwards.
        with stack.frozen("postgres"):
            assert send(port, nagios["email_address"], "PROBLEM: db1 is DOWN") == 451
        until(stack.ready, seconds=60, what="ready again")
        killed = stack.kill("mail")
        stack.comes_back("mail", after=killed)
        until(
            lambda: send(port, nagios["email_address"], "PROBLEM: db2 is DOWN") == 250, seconds=30, what="taken again"
        )
        until(lambda: "open" in live(), seconds=30, what="an alert")
        subjects = [alert["subject"] for alert in stack.alerts(nagios["id"])]
        assert sorted(subjects) == ["db2 is DOWN", "web1 is DOWN"], subjects
