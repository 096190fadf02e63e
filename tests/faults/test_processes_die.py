"""Processes are killed, the broker forgets everything, the database restarts: nothing is lost, nothing is doubled."""

import os
import re
import signal
import threading
import time

import pytest

from heartbeat_project.operator_mail import FileStore, State
from tests.processes import DeadMansSwitch, PostOffice, Stack, running_stack, until

pytestmark = pytest.mark.serial


@pytest.fixture(scope="module")
def post():
    with PostOffice() as office:
        yield office


@pytest.fixture(scope="module")
def switch():
    with DeadMansSwitch() as switch:
        yield switch


@pytest.fixture(scope="module")
def shared(post, switch):
    operator = {"HEARTBEAT_OPERATOR_EMAIL": "ops@example.com", "HEARTBEAT_WATCHDOG_URL": switch.url}
    short = {"HEARTBEAT_NOTIFICATION_LEASE_SECONDS": "4", "HEARTBEAT_STANDSTILL_SECONDS": "3"}
    with running_stack(EMAIL_URL=post.url, **operator, **short) as stack:
        yield stack


@pytest.fixture
def stack(shared: Stack, post: PostOffice):
    post.hanging.clear()
    until(shared.ready, seconds=30, what="ready")
    return shared


SENDING = "SELECT count(*) FROM escalation_notification WHERE status = 'sending'"
_names = iter(range(1000))


def silent(stack: Stack, count: int = 1):
    """Create heartbeats of six seconds that notify one new person; return them and the address."""
    name = f"person{next(_names)}"
    person = stack.person(name)
    made = [stack.heartbeat(f"{name} job {number}", recipients=[person]) for number in range(count)]
    return made, f"{name}@example.com"


def names_in_pages(post: PostOffice, address: str, names) -> list[str]:
    """Return the names that pages to this address are about, alone or in a bundle, as often as they do."""
    pages = [message for message in post.to(address) if re.search(r"silent|\d alerts:", str(message["Subject"]))]
    texts = [message.get_body(("plain",)).get_content() for message in pages]
    return [name for text in texts for name in names if re.search(rf"{name}\b", text)]


def expect_each_notified_once(stack: Stack, post: PostOffice, made, address: str, *, seconds: float = 45):
    names = {integration["name"] for integration in made}
    until(
        lambda: names <= set(names_in_pages(post, address, names)),
        seconds=seconds,
        what=f"each is notified\n{stack.tail()}",
    )
    time.sleep(6)  # longer than the lease: a doubled message would come now
    assert sorted(names_in_pages(post, address, names)) == sorted(names)
    for integration in made:
        assert len(stack.alerts(integration["id"])) == 1


def test_a_delivery_worker_killed_after_the_claim_and_before_the_send(stack: Stack, post: PostOffice):
    post.hanging.set()
    made, address = silent(stack)
    until(lambda: stack.sql(SENDING)[0][0], seconds=30, what="the worker is sending")

    killed = stack.kill("delivery")
    post.hanging.clear()

    stack.comes_back("delivery", after=killed)
    expect_each_notified_once(stack, post, made, address)


@pytest.mark.long
def test_an_engine_worker_killed_while_misses_are_due(stack: Stack, post: PostOffice):
    made, address = silent(stack, 5)
    for _ in range(3):
        killed = stack.kill("engine")
        stack.comes_back("engine", after=killed)

    expect_each_notified_once(stack, post, made, address)


@pytest.mark.long
def test_the_broker_is_flushed_and_restarted_while_tasks_are_unacknowledged(stack: Stack, post: PostOffice):
    post.hanging.set()
    made, address = silent(stack, 2)
    until(lambda: stack.sql(SENDING)[0][0], seconds=30, what="a task is being worked on")

    stack.broker().flushall()
    killed = stack.kill("valkey")
    stack.comes_back("valkey", after=killed)
    post.hanging.clear()

    expect_each_notified_once(stack, post, made, address)
    later, address = silent(stack)
    expect_each_notified_once(stack, post, later, address)


def test_while_the_broker_is_frozen_pings_and_events_are_accepted_and_people_are_notified(
    stack: Stack, post: PostOffice
):
    made, address = silent(stack)
    eve = stack.person("eve")
    shop = stack.api("shop", recipients=[eve])
    pid = stack.pid("valkey")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert stack.ping(made[0]["api_url"]) == 200
        assert time.monotonic() - started < 1
        event = stack.post(shop["api_url"], {"subject": "Disk full"})
        assert event["action"] == "opened"
        assert time.monotonic() - started < 2
        until(lambda: post.to("eve@example.com"), seconds=6 + 5, what=f"the event notifies\n{stack.tail()}")
        until(lambda: post.to(address), seconds=6 + 5, what=f"notified without the broker\n{stack.tail()}")
        status, answer = stack.get("/readyz")
        assert (status, answer["status"], "broker" in answer["parts"]) == (200, "degraded", True), answer
    finally:
        os.kill(pid, signal.SIGCONT)

    expect_each_notified_once(stack, post, made, address)


def test_the_database_is_killed_under_load_and_no_acknowledged_ping_is_lost(stack: Stack, post: PostOffice):
    [integration], _ = silent(stack)
    statuses: list[int] = []
    done = threading.Event()

    def ping_on():
        while not done.is_set():
            statuses.append(stack.ping(integration["api_url"]))

    threads = [threading.Thread(target=ping_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    killed = stack.kill("postgres")
    stack.comes_back("postgres", after=killed)
    until(lambda: statuses[-1] == 200 and 200 in statuses[-20:], seconds=40, what="pings are accepted again")
    time.sleep(1)
    done.set()
    for thread in threads:
        thread.join()

    answered = statuses.count(200)
    [(stored,)] = stack.sql(f"SELECT count(*) FROM integrations_ping WHERE integration_id = {integration['id']}")
    assert answered > 50
    assert set(statuses) - {200} <= {0, 503}, set(statuses)
    assert stored >= answered, "an acknowledged ping was lost"
    assert stored - answered <= 4, "more was stored than could have been under way"


@pytest.mark.long
def test_a_frozen_database_is_mailed_to_the_operator_while_it_lasts_and_once_it_is_over(
    stack: Stack, post: PostOffice, switch
):
    """With two minutes, as by default: see test_operator_is_mailed.py."""
    until(lambda: stack.get("/readyz")[1]["standstill"] == "", seconds=30, what="the work goes on")
    until(lambda: switch.pings, seconds=30, what="the watchdog is pinged")
    FileStore(stack.folder / "operator-mail").write(State())  # what another test may have caused within the hour
    post.messages = [message for message in post.messages if message["To"] != "ops@example.com"]
    with stack.frozen("postgres"):
        started = time.monotonic()
        status, answer = stack.get("/readyz")
        assert (status, answer["checks"]["database"]["ok"]) == (503, False)
        assert time.monotonic() - started < 4
        assert stack.get("/healthz")[0] == 200
        until(lambda: post.to("ops@example.com"), seconds=30, what=f"the operator is mailed\n{stack.tail()}")
    until(lambda: len(post.to("ops@example.com")) == 2, seconds=60, what=f"and that it is over\n{stack.tail()}")
    subjects = [str(message["Subject"]) for message in post.to("ops@example.com")]
    assert subjects == ["Heartbeat stands still: people may not be notified", "Heartbeat works again"]
    until(stack.ready, seconds=40, what="ready")  # a ping that was refused before counts for half a minute


@pytest.mark.long
def test_after_the_database_restarts_what_is_due_is_done(stack: Stack, post: PostOffice):
    made, address = silent(stack, 3)
    killed = stack.kill("postgres")
    stack.comes_back("postgres", after=killed)

    expect_each_notified_once(stack, post, made, address, seconds=90)


@pytest.mark.long
def test_web_killed_is_restarted_and_short_deafness_raises_no_false_alarm(stack: Stack, post: PostOffice):
    person = stack.person(f"person{next(_names)}")
    calm = stack.heartbeat("calm", recipients=[person], interval_minutes=1)
    assert stack.ping(calm["api_url"]) == 200

    killed = stack.kill("web")
    stack.comes_back("web", after=killed)
    until(stack.ready, seconds=30, what="ready")

    assert stack.alerts(calm["id"]) == []
