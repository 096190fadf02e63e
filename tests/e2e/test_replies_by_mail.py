"""A reply by mail with the real processes: hostile mails before it, and the job's pings meanwhile."""

import http.client
import os
import time

import pytest

from tests.processes import PostOffice, running_stack, until

pytestmark = pytest.mark.serial

SECRET = "mail-secret-of-the-mail-server"
NEST = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(3_000))


def bring(stack, raw):
    """Bring a mail as a mail server does; return the status and the seconds that it took."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=15)
    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "message/rfc822"}
    connection.request("POST", "/api/v1/responses/mail/", raw, headers)
    status = connection.getresponse().status
    connection.close()
    return status, time.monotonic() - begun


def text_of(mail):
    return mail.get_body(("plain",)).get_content()


def test_a_mail_takes_an_alert_within_two_seconds_though_hostile_ones_come_before_it():
    settings = {"HEARTBEAT_REPLY_ADDRESS": "a@reply.example.org", "HEARTBEAT_INBOUND_MAIL_SECRET": SECRET}
    with PostOffice() as post, running_stack(EMAIL_URL=post.url, **settings) as stack:
        backup = stack.heartbeat("backup", recipients=[stack.person("ana")])
        other = stack.heartbeat("other", interval_minutes=5)
        assert stack.ping(backup["api_url"]) == 200
        until(lambda: post.messages, seconds=20, what="a page")
        to = b"To: " + str(post.messages[0]["Reply-To"]).encode() + b"\n"
        hostile = [
            b"To: " + b"a" * 900_000 + b"\n\nx",
            b"To: " + b"(" * 40_000 + b"\n\nx",
            to + b"Content-Type: " + b"(" * 200_000 + b"\n\nx",
            to + b"Content-Type: message/rfc822\n\n" * 30_000,
            to + NEST,
        ]
        for raw in [*hostile, *hostile[:2] * 5]:
            status, seconds = bring(stack, raw)
            assert status == 202
            assert seconds < 5
            begun = time.monotonic()
            assert stack.ping(other["api_url"]) == 200
            assert time.monotonic() - begun < 1
        brought = time.monotonic()
        assert bring(stack, to + b"From: x\nMessage-ID: <1@x>\n\nassign\n")[0] == 202
        until(lambda: stack.alerts(backup["id"])[0]["status"] == "assigned", seconds=30, what="assigned")
        took = time.monotonic() - brought
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others who share the cores are not its fault
        assert took < 2.5 * busy, took
        until(lambda: any("is yours" in text_of(mail) for mail in post.messages), seconds=10, what="the answer")
        rows = stack.sql("SELECT state, count(*) FROM integrations_inboundevent GROUP BY state ORDER BY state")
        assert dict(rows)["unreadable"] >= 2
        assert "waiting" not in dict(rows)
