"""The main job with the real processes: over REST, a real broker, real workers and a real SMTP server."""

import os
import time

import pytest

from tests.processes import PostOffice, running_stack, until

pytestmark = pytest.mark.serial


def test_a_silent_job_reaches_the_primary_and_its_ping_closes_the_alert():
    with PostOffice() as post, running_stack(EMAIL_URL=post.url) as stack:
        ana, ben = stack.person("ana"), stack.person("ben")
        team = stack.post(
            "/api/v1/groups/",
            {"name": "Database", "members": [{"user": ana, "role": "primary"}, {"user": ben, "role": "secondary"}]},
        )
        policy = stack.post(
            "/api/v1/escalation-policies/",
            {
                "name": "Six seconds",
                "roles": [{"role": "primary"}, {"role": "secondary", "wait_minutes": 0.1}],
            },
        )
        backup = stack.heartbeat(
            "nightly backup", escalation_policy=policy["id"], recipient_groups=[team["id"]], interval_minutes=0.1
        )
        assert backup["state"] == "waiting"

        assert stack.ping(backup["api_url"]) == 200
        pinged = time.monotonic()
        until(lambda: post.messages, seconds=15, what="a page")
        notified_after = time.monotonic() - pinged
        [page] = post.messages
        assert "ana@example.com" in page["To"]
        assert "nightly backup" in page["Subject"]
        assert 6 <= notified_after < 10, notified_after

        [alert] = stack.alerts(backup["id"])
        assert (alert["status"], alert["source"], alert["source_name"]) == ("open", "Heartbeat", "nightly backup")
        stack.post(f"/api/v1/alerts/{alert['id']}/assign/", {"user": ana})
        until(lambda: len(post.messages) == 2, seconds=5, what="that it was assigned")
        assert "ana@example.com" in post.messages[1]["To"]
        assert "assigned to you" in post.messages[1]["Subject"].lower()
        time.sleep(9)  # the Secondary's turn passes
        assert post.to("ben@example.com") == []
        assert len(post.messages) == 2

        assert stack.ping(backup["api_url"]) == 200
        until(lambda: stack.alerts(backup["id"])[0]["status"] == "closed", seconds=5, what="closed")
        closed = stack.alerts(backup["id"])[0]
        assert closed["close_reason"] == "closed by heartbeat"
        # It waits for others of the same five seconds; see docs/decisions/0037-recovery-notices.md.
        until(lambda: len(post.messages) == 3, seconds=10, what="the recovery notice")
        assert "ana@example.com" in post.messages[2]["To"]
        assert "recovered" in post.messages[2]["Subject"].lower()
        kinds = [entry["kind"] for entry in stack.get(f"/api/v1/alerts/{alert['id']}/timeline/")[1]["results"]]
        assert {"opened", "notified", "assigned", "closed"} <= set(kinds)

        log = stack.log.read_text()
        token = backup["api_url"].rsplit("/", 1)[1]
        assert token not in log, "a ping token is in the logs"
        assert "hb_end-to-end" not in log, "an API key is in the logs"
        assert stack.stop() == 0
        ready_after = stack.start()
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others who share the cores are not its fault
        assert ready_after <= 10 * busy, f"the second start took {ready_after:.1f} s"
