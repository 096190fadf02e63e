"""Two web processes, two engine workers, two delivery workers and two beats on one database, as on several machines."""

import contextlib
import os
import signal
import time
from collections import Counter

import pytest

from benchmarks.machine import family
from tests.processes import PostOffice, free_port, running_stack, until

pytestmark = pytest.mark.serial

JOBS = 12


@pytest.fixture(scope="module")
def post():
    with PostOffice() as office:
        yield office


@pytest.fixture(scope="module")
def stack(post):
    with running_stack(EMAIL_URL=post.url) as running:
        yield running


@pytest.fixture(scope="module")
def second_url(stack):
    """The second web server's address, while a second of each process runs beside the stack's own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with contextlib.ExitStack() as more:
        more.enter_context(stack.beside("web", port=port))
        for name in ("engine", "delivery", "beat"):
            more.enter_context(stack.beside(name))
        until(lambda: answers(stack, f"{url}/readyz"), seconds=60, what=f"the second web\n{stack.tail()}")
        yield url


def answers(stack, url: str) -> bool:
    with contextlib.suppress(OSError):
        return stack.get(url)[0] == 200
    return False


def subjects(post: PostOffice, saying: str) -> Counter[str]:
    """Count the messages whose subject says `saying`, by the job that they are about."""
    found = [str(message["Subject"]) for message in post.messages if saying in str(message["Subject"]).lower()]
    return Counter(name for subject in found for name in names() if name in subject)


def names() -> list[str]:
    return [f"job {number:02}" for number in range(JOBS)]


@contextlib.contextmanager
def frozen(stack, *processes: str):
    """Stop these processes of the stack, and what they started, without ending them."""
    found = [pid for name in processes for pid in family(stack.pid(name))]
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            os.kill(pid, signal.SIGCONT)


def test_each_silence_is_one_alert_and_one_mail_and_one_recovery_however_many_processes_look(stack, second_url, post):
    # One person for each: what is asked to one person in the same second may come in one message.
    people = [stack.person(name.replace(" ", "")) for name in names()]
    jobs = [
        stack.heartbeat(name, recipients=[person], interval_minutes=0.2, start_timer="first_ping")
        for name, person in zip(names(), people, strict=True)
    ]
    endpoints = [(job["api_url"], f"{second_url}/Heartbeat/{job['api_url'].rsplit('/', 1)[1]}") for job in jobs]

    assert [stack.ping(endpoint) for pair in endpoints for endpoint in pair] == [200] * 2 * JOBS
    ids = ",".join(str(job["id"]) for job in jobs)
    counted = f"SELECT count(*), count(DISTINCT integration_id) FROM integrations_ping WHERE integration_id IN ({ids})"
    assert stack.sql(counted) == [(2 * JOBS, JOBS)], "each ping through either endpoint is in the history once"

    until(lambda: len(subjects(post, "silent")) == JOBS, seconds=60, what=f"each is notified\n{stack.tail()}")
    for number, job in enumerate(jobs):  # the two endpoints take turns
        assert stack.ping(endpoints[number][number % 2]) == 200
        assert stack.call("PATCH", f"/api/v1/integrations/{job['id']}/", {"interval_minutes": 60})[0] == 200
    until(lambda: len(subjects(post, "recovered")) == JOBS, seconds=30, what=f"each recovered\n{stack.tail()}")
    time.sleep(4)  # several ticks of both beats: a doubled message would come now

    once = dict.fromkeys(names(), 1)
    assert dict(subjects(post, "silent")) == once
    assert dict(subjects(post, "recovered")) == once
    alerts = f"SELECT integration_id, status, close_reason FROM alerting_alert WHERE integration_id IN ({ids})"
    assert sorted(stack.sql(alerts)) == sorted((job["id"], "closed", "closed by heartbeat") for job in jobs)
    kinds = (
        "SELECT entry.kind, count(*) FROM alerting_timelineentry AS entry"
        f" JOIN alerting_alert AS alert ON alert.id = entry.alert_id WHERE alert.integration_id IN ({ids})"
        " AND entry.kind IN ('opened', 'closed') GROUP BY entry.kind"
    )
    assert dict(stack.sql(kinds)) == {"opened": JOBS, "closed": JOBS}


@pytest.mark.long
def test_the_second_of_each_does_all_the_work_while_the_first_stands_still(stack, second_url, post):
    job = stack.heartbeat("night job", recipients=[stack.person("nora")], start_timer="first_ping")
    token = job["api_url"].rsplit("/", 1)[1]
    alerts = f"SELECT status FROM alerting_alert WHERE integration_id = {job['id']}"
    with frozen(stack, "web", "engine", "delivery", "beat"):
        assert stack.ping(f"{second_url}/Heartbeat/{token}") == 200
        until(lambda: post.to("nora@example.com"), seconds=60, what=f"nora is notified\n{stack.tail()}")
        assert stack.sql(alerts) == [("open",)]
        assert stack.ping(f"{second_url}/Heartbeat/{token}") == 200
        slower = stack.call("PATCH", f"{second_url}/api/v1/integrations/{job['id']}/", {"interval_minutes": 60})
        assert slower[0] == 200, slower
        until(lambda: stack.sql(alerts) == [("closed",)], seconds=30, what=f"closed\n{stack.tail()}")
        until(lambda: len(post.to("nora@example.com")) == 2, seconds=30, what=f"recovered\n{stack.tail()}")

    time.sleep(4)  # what stood still goes on, and finds nothing left to do
    assert [("silent" in str(mail["Subject"]).lower()) for mail in post.to("nora@example.com")] == [True, False]
    assert stack.sql(alerts) == [("closed",)]


def test_a_further_organization_is_created_while_the_server_runs(stack):
    said = stack.manage("create_organization", "Beta", "ben@example.com")
    assert f"Sign in at {stack.url}/login/ as ben@example.com with the password " in said
