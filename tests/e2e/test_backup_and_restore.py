"""Backup and restore with the real processes: while running, killed in the middle, into a database of one's own."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from django.db import connection

from embedded import postgres
from embedded.folders import open_data_folder
from embedded.testing import running
from tests.faults.answering import open_page
from tests.processes import ROOT, PostOffice, Stack, until
from tests.restoring import NOT_COMPARED

pytestmark = [pytest.mark.long, pytest.mark.serial, pytest.mark.django_db, pytest.mark.timeout(900)]

# Rows of tasks that run each minute or day, whether or not anything happens.
UPKEEP = {"integrations_tick", "integrations_dailylist", "integrations_coveragewatch", "escalation_progress"}
STEPS = ("Creating the tables", "Restoring the rows", "Migrating them to this version")


@pytest.fixture
def place():
    folder = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def command(module, *arguments, folder, **env):
    """Return how to run a module of `embedded` on a data folder."""
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return {
        "args": [sys.executable, "-m", f"embedded.{module}", *arguments],
        "cwd": ROOT,
        "env": {**clean, "HEARTBEAT_DATA_DIR": str(folder), **env},
        "text": True,
    }


def run(module, *arguments, folder, code=0, **env):
    """Run it and return all that it says."""
    done = subprocess.run(
        check=False, **command(module, *arguments, folder=folder, **env), capture_output=True, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def kill_at(step, backup, *, folder):
    """Restore, and kill all of it with SIGKILL once it says that it does this step."""
    with subprocess.Popen(
        **command("restore", str(backup), folder=folder), stdout=subprocess.PIPE, start_new_session=True
    ) as restoring:
        assert restoring.stdout is not None
        for line in restoring.stdout:
            if line.startswith(step):
                os.killpg(restoring.pid, signal.SIGKILL)
                return
        pytest.fail(f"it never came to {step}")


@contextlib.contextmanager
def own_database():
    """Make an empty database on the tests' server and give its address."""
    given = connection.get_connection_params()
    name = f"own_{uuid.uuid4().hex[:12]}"
    server = {key: given[key] for key in ("host", "port", "user", "password") if given.get(key)}
    with psycopg.connect(dbname="postgres", autocommit=True, **server) as maintenance:
        maintenance.execute(f"CREATE DATABASE {name}")
        try:
            login = quote(server["user"]) + (f":{quote(server['password'])}" if "password" in server else "")
            yield f"postgres://{login}@/{name}?host={quote(server['host'], safe='')}&port={server.get('port', 5432)}"
        finally:
            maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_backup_made_while_it_runs_is_restored_held_and_released(place):
    backup = place / "backup"
    with PostOffice() as office:
        first = Stack(folder=place / "first", env={"EMAIL_URL": office.url})
        first.start(seconds=180)
        try:
            heartbeat = first.heartbeat("Nightly", recipients=[first.person("ana")])
            first.ping(heartbeat["api_url"])
            until(lambda: office.to("ana@example.com"), seconds=60, what="Ana is paged")
            said = run("manage", "backup", str(backup), folder=first.folder)
            assert "contains the secret key" in said
            pings = first.sql("SELECT count(*) FROM integrations_ping")
        finally:
            first.stop()

        second = Stack(folder=place / "second", env={"EMAIL_URL": office.url}, port=first.port)
        for step in STEPS:
            kill_at(step, backup, folder=second.folder)
        assert "The installation is held" in run("restore", str(backup), folder=second.folder)
        assert (second.folder / "secret_key").read_text() == (first.folder / "secret_key").read_text()
        assert "already holds an installation" in run("restore", str(backup), folder=second.folder, code=1)

        sent = len(office.messages)
        second.start(seconds=180)
        try:
            assert "Another instance" in run("restore", str(backup), "--replace", folder=second.folder, code=1)
            until(lambda: "Held for" in second.log.read_text(), seconds=60, what="the log says that it is held")
            assert second.sql("SELECT count(*) FROM integrations_ping") == pings
            assert second.ping(heartbeat["api_url"]) == 200
            assert second.ping(heartbeat["api_url"]) == 200
            assert len(second.alerts(heartbeat["id"])) == 1, "the key from before the backup is valid"
            assert len(office.messages) == sent, [str(message["Subject"]) for message in office.messages[sent:]]
            said = run("stack", "--release", folder=second.folder, HEARTBEAT_PORT=str(second.port))
            assert "Released: deadlines are judged and people are notified again." in said
            until(
                lambda: any("Recovered" in str(message["Subject"]) for message in office.to("ana@example.com")),
                seconds=60,
                what="Ana learns that it recovered",
            )
            until(lambda: len(second.alerts(heartbeat["id"])) == 2, seconds=90, what="the next silence is an alert")
        finally:
            second.stop()


@contextlib.contextmanager
def pinging(stack, *jobs):
    """Ping these every two seconds within the block."""
    over, statuses = threading.Event(), []

    def ping():
        while not over.is_set():
            statuses.extend(stack.ping(job["api_url"]) for job in jobs)
            over.wait(2)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert set(statuses) == {200}


def counts(stack):
    """Return how many rows each of our tables has, except those that a restore or the mere passing of time fills."""
    names = stack.sql(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        " AND table_name ~ '^(accounts|alerting|escalation|integrations)_'"
    )
    return {name: stack.sql(f"SELECT count(*) FROM {name}") for (name,) in names if name not in NOT_COMPARED | UPKEEP}


def is_settled(stack):
    before = counts(stack)
    time.sleep(2)
    return counts(stack) == before


def pages(office, name):
    return [mail for mail in office.to(f"{name}@example.com") if "is silent" in str(mail["Subject"])]


def test_ten_minutes_later_in_a_database_of_ones_own_escalations_go_on_and_only_the_true_silence_is_new(place):
    """From the embedded database of one folder to a server of one's own, with an empty folder; the clock is moved."""
    backup, moves = place / "backup", place / "moves"
    moves.write_text("")
    own = open_data_folder(place / "own")
    server = postgres.locate(own)
    with PostOffice() as office, running(server, own):
        env = {"EMAIL_URL": office.url, "HEARTBEAT_TEST_CLOCK": str(moves)}
        first = Stack(folder=place / "first", env=env)
        second = Stack(folder=place / "second", env={**env, "DATABASE_URL": server.url}, port=first.port)
        first.start(seconds=180)
        try:
            people = {name: first.person(name) for name in ("ana", "ben", "max", "eve", "lea")}
            members = [{"user": people["ana"], "role": "primary"}, {"user": people["ben"], "role": "secondary"}]
            group = first.post("/api/v1/groups/", {"name": "Database", "members": members})
            roles = [{"role": "primary"}, {"role": "secondary", "wait_minutes": 5}]
            policy = first.post("/api/v1/escalation-policies/", {"name": "Ben after 5 minutes", "roles": roles})
            walk = {"escalation_policy": policy["id"], "recipient_groups": [group["id"]]}
            silent = first.heartbeat("silent", **walk)
            back = first.heartbeat("back", recipients=[people["max"]])
            dead = first.heartbeat("dead", recipients=[people["eve"]], interval_minutes=1.5)
            lively = first.heartbeat("lively", recipients=[people["lea"]], interval_minutes=1.5)
            with pinging(first, dead, lively):
                until(lambda: pages(office, "ana") and pages(office, "max"), seconds=60, what="Ana and Max are paged")
            until(lambda: is_settled(first), seconds=20, what="all is written")
            before = counts(first)
            run("manage", "backup", str(backup), folder=first.folder)
            assert counts(first) == before
            assert (len(pages(office, "ben")), first.alerts(silent["id"])[0]["status"]) == (0, "open")
        finally:
            first.stop()

        sent = len(office.messages)
        moves.write_text("all 600\n")
        run("restore", str(backup), folder=second.folder, **second.env)
        assert counts(second) == before
        second.start(seconds=180)
        try:
            [link] = re.findall(rf"{re.escape(second.url)}/r/\S+", text_of(pages(office, "ana")[0]))[:1]
            with pinging(second, back, lively):
                time.sleep(20)
                status, answer = second.get("/readyz")
                assert (status, answer["status"], "held" in answer["parts"]) == (200, "degraded", True), answer
                status, page = open_page(link)
                assert (status, "Assign to me" in page) == (200, True)
                assert len(office.messages) == sent, [str(mail["Subject"]) for mail in office.messages[sent:]]
                released = run(
                    "stack", "--release", folder=second.folder, HEARTBEAT_PORT=str(second.port), **second.env
                )
                assert "people are notified again" in released
                until(lambda: pages(office, "ben"), seconds=30, what=f"the escalation goes on\n{second.tail()}")
                until(lambda: pages(office, "eve"), seconds=150, what=f"the true silence is paged\n{second.tail()}")
                until(
                    lambda: any("Recovered" in str(mail["Subject"]) for mail in office.to("max@example.com")),
                    seconds=30,
                    what="Max learns that it recovered",
                )
                time.sleep(5)
            assert "held" not in second.get("/readyz")[1]["parts"]
            found = {
                job["name"]: [alert["status"] for alert in second.alerts(job["id"])] for job in (silent, back, dead)
            }
            assert found == {"silent": ["open"], "back": ["closed"], "dead": ["open"]}
            assert second.alerts(lively["id"]) == []
            assert {name: len(pages(office, name)) for name in people} == dict.fromkeys(people, 1) | {"lea": 0}
            assert open_page(link, {"action": "assign"})[0] == 200
            assert second.alerts(silent["id"])[0]["status"] == "assigned"
        finally:
            second.stop()


def text_of(mail):
    return mail.get_body(("plain",)).get_content()


def test_a_killed_restore_starts_empty(place):
    backup = place / "backup"
    with own_database() as old:
        env = {"SECRET_KEY": "the old one's", "REDIS_URL": "redis://127.0.0.1:1/0"}
        run("manage", "migrate", "-v0", folder=place / "old", DATABASE_URL=old, **env)
        run("manage", "backup", str(backup), folder=place / "old", DATABASE_URL=old, **env)
    kill_at(STEPS[2], backup, folder=place / "new")
    stack = Stack(folder=place / "new", env={})
    stack.start(seconds=180)
    try:
        assert stack.sql("SELECT count(*) FROM accounts_restore") == [(0,)]
        assert stack.sql("SELECT email FROM accounts_user") == [("owner@example.com",)]
    finally:
        stack.stop()


def test_an_older_backup_comes_up_to_date_in_a_database_of_ones_own(place):
    backup = place / "backup"
    env = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with own_database() as old:
        run("manage", "migrate", "-v0", folder=place / "old", DATABASE_URL=old, **env)
        with psycopg.connect(old.replace("postgres://", "postgresql://")) as server:
            server.execute(
                "INSERT INTO accounts_organization (name, time_zone, created_at, bundle_seconds)"
                " VALUES ('Old', 'UTC', now(), 0)"
            )
        run("manage", "backup", str(backup), folder=place / "old", DATABASE_URL=old, **env)
    key = (place / "old" / "secret_key").read_text().strip()
    next_release = {**env, "DJANGO_SETTINGS_MODULE": "tests.upgrades.settings", "SECRET_KEY": key}
    with own_database() as new:
        assert manage("restore", str(backup), DATABASE_URL=new, **next_release) == 0
        assert manage("migrate", "--check", DATABASE_URL=new, **next_release) == 0
        with psycopg.connect(new.replace("postgres://", "postgresql://")) as server:
            assert server.execute("SELECT name FROM accounts_organization").fetchall() == [("Old",)]
            assert server.execute("SELECT released_at FROM accounts_restore").fetchall() == [(None,)]
            assert server.execute("SELECT alias FROM accounts_contactmethod").fetchall() == []


def manage(*arguments, **env):
    """Run `manage.py` as it is and return its exit code."""
    own = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=own | env, check=False).returncode


def test_a_backup_brings_its_secret_key_and_is_refused_under_another(place):
    backup = place / "backup"
    env = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with own_database() as old:
        run("manage", "migrate", "-v0", folder=place / "old", DATABASE_URL=old, **env)
        run("manage", "backup", str(backup), folder=place / "old", DATABASE_URL=old, **env)
    key = (place / "old" / "secret_key").read_text()
    with own_database() as new:
        run("restore", str(backup), folder=place / "new", DATABASE_URL=new, **env)
        assert (place / "new" / "secret_key").read_text() == key
        said = run(
            "restore", str(backup), "--replace", folder=place / "new", DATABASE_URL=new, code=1, SECRET_KEY="x", **env
        )
        assert "made with another SECRET_KEY" in said
