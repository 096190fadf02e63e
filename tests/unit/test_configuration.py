"""A variable that cannot be used is named in one sentence, and the exit status is 1."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured

from heartbeat_project.configuration import Environment, check_database

ROOT = Path(__file__).parents[2]


def environment(**variables: str) -> Environment:
    env = Environment()
    env.ENVIRON = variables
    return env


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://user@host/name",
        "postgres://user:pa/ss@host/name",
        "postgres://user@host:99999/name",
        "postgres://user@host:x/name",
        "postgres://user@[::1/name",
        "postgres://user@host",
        "postgres://user@host/",
        "postgres://user@host/na\nme",
    ],
)
def test_a_database_address_that_cannot_be_meant_is_refused_without_its_password(url):
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL must ") as caught:
        environment(DATABASE_URL=url).database()

    assert "pa/ss" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_databases_password_may_stand_apart_and_hosts_may_be_several():
    found = environment(DATABASE_URL="postgres://user:x@one:5432,two:5433/name", DATABASE_PASSWORD="a/b@c").database()

    assert (found["PASSWORD"], found["NAME"], found["HOST"]) == ("a/b@c", "name", "one,two")


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.org",
        "http://host",
        "smtp://host:x",
        "smtp://",
        "smtp+tls://:587",
        "smtp://host?tls=True",
        "smtps://h?EMAIL_USE_SSL=1",
    ],
)
def test_a_mail_address_that_cannot_be_meant_is_refused(url):
    with pytest.raises(ImproperlyConfigured, match=r"^EMAIL_URL (must|knows no option|asks for both)"):
        environment(EMAIL_URL=url).mail()


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtp://h", 25, None),
        ("smtp+tls://u:p%40w@h", 587, True),
        ("smtp+tls://h:25", 25, True),
        ("smtp://h:26", 26, None),
        ("smtp://h?EMAIL_USE_TLS=True", 25, True),
        ("smtp://h?EMAIL_USE_TLS=false", 25, False),
    ],
)
def test_a_mail_server_has_the_port_of_its_kind(url, port, tls):
    found = environment(EMAIL_URL=url).mail()

    assert (found["EMAIL_HOST"], found["EMAIL_PORT"], found.get("EMAIL_USE_TLS")) == ("h", port, tls)


@pytest.mark.parametrize("url", ["host:6379", "http://host", "redis://host:x", "postgres://host/name"])
def test_a_broker_address_that_cannot_be_meant_is_refused(url):
    with pytest.raises(ImproperlyConfigured, match=r"^REDIS_URL must be an address such as redis://"):
        environment(REDIS_URL=url).broker()


@pytest.mark.parametrize(
    "url",
    [
        "redis://nobody.invalid:1/0",
        "rediss://h",
        "redis+socket://:p@/run/a b.sock",
        "amqp://h//",
        "sentinel://a;sentinel://b",
    ],
)
def test_whether_a_broker_is_there_is_not_asked(url):
    assert environment(REDIS_URL=url).broker() == url


def test_numbers_and_switches_are_what_they_say():
    env = environment(N="12", F="1.5", B="off", L=" a, b,,", D="$N", BAD="15s", LOW="0")

    assert (env.number("N", default=1), env.float("F"), env.bool("B"), env.list("L")) == (12, 1.5, False, ["a", "b"])
    assert env.str("D") == "$N"
    assert env.number("NONE", default=3) == 3
    for read, message in (
        (lambda: env.number("BAD", default=1), "BAD must be a whole number, not '15s'."),
        (lambda: env.float("BAD"), "BAD must be a number, not '15s'."),
        (lambda: env.bool("BAD"), "BAD must be true or false, not '15s'."),
        (lambda: env.number("LOW", default=1), "LOW must be 1 or more, not 0."),
        (lambda: env.str("NONE"), "NONE is not set. script/server and script/manage set it themselves."),
    ):
        with pytest.raises(ImproperlyConfigured) as caught:
            read()
        assert str(caught.value) == message


def test_a_database_that_is_not_there_is_explained_by_what_the_driver_says():
    with pytest.raises(ImproperlyConfigured) as caught:
        check_database({"host": "127.0.0.1", "port": 1, "dbname": "x", "user": "u", "password": "secret", "pool": True})

    assert str(caught.value) == (
        "The database 'x' at 127.0.0.1, port 1 cannot be used: Connection refused. Check DATABASE_URL."
    )


def test_of_several_tries_the_last_one_is_named_without_its_address(monkeypatch):
    said = (
        "connection is bad: Multiple connection attempts failed. All failures were:\n"
        "- host: 'db', hostaddr: '::1': connection failed: connection to server at \"::1\", port 5432 failed: "
        "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n"
        "- host: 'db', hostaddr: '127.0.0.1': connection failed: connection to server at \"127.0.0.1\", port 5432 failed: "
        'FATAL:  password authentication failed for user "u"'
    )

    def refuse(**_: object) -> None:
        raise psycopg.OperationalError(said)

    monkeypatch.setattr(psycopg, "connect", refuse)
    with pytest.raises(
        ImproperlyConfigured, match='cannot be used: password authentication failed for user "u"\\. Check'
    ):
        check_database({"host": "db", "dbname": "x"})


COMMANDS = {
    "manage.py": ["manage.py", "migrate", "--skip-checks"],
    "celery": ["-m", "celery", "--quiet", "--skip-checks", "-A", "heartbeat_project.celery", "worker"],
}


@pytest.mark.parametrize(
    ("command", "variable", "sentence"),
    [
        ("manage.py", "DATABASE_URL={server}/no-such-database", 'database "no-such-database" does not exist'),
        ("celery", "EMAIL_URL=smtp://host:x", "EMAIL_URL must be an address"),
        ("manage.py", "EMAIL_URL=smtp://127.0.0.1:8025", "EMAIL_URL leads to Heartbeat's own mail server"),
        ("manage.py", "HEARTBEAT_MAIL_DOMAIN=a b", "HEARTBEAT_MAIL_DOMAIN must be a domain"),
        ("manage.py", "HEARTBEAT_BEHIND_PROXY=true", "in HEARTBEAT_TRUSTED_PROXIES instead, such as 10.0.0.5"),
        ("celery", "HEARTBEAT_BEHIND_PROXY=false", "in HEARTBEAT_TRUSTED_PROXIES instead, such as 10.0.0.5"),
        ("manage.py", "HEARTBEAT_TRUSTED_PROXIES=10.0.0.5/8", "HEARTBEAT_TRUSTED_PROXIES must hold networks such as"),
        ("manage.py", "HEARTBEAT_TRUSTED_PROXIES=proxy", "HEARTBEAT_TRUSTED_PROXIES must hold networks such as"),
        ("manage.py", "HEARTBEAT_OWNER_API_KEY=secret-of-thirty-one-characters", "must have at least 32 characters"),
    ],
)
def test_a_process_says_one_sentence_and_ends_with_1(command, variable, sentence):
    name, _, value = variable.partition("=")
    head, _, query = os.environ["DATABASE_URL"].partition("?")
    value = value.replace("{server}/no-such-database", f"{head.rpartition('/')[0]}/no-such-database?{query}")
    done = subprocess.run(
        [sys.executable, *COMMANDS[command]],
        cwd=ROOT,
        env=os.environ | {name: value},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert sentence in done.stderr
    assert "secret" not in done.stderr
    assert done.stdout + done.stderr.removesuffix("\n") == done.stderr.strip()
    assert len(done.stderr.splitlines()) == 1


def test_a_database_that_is_back_is_used_by_whoever_next_asks(settings):
    """The pool's own default pauses for up to as long as the database was away, and nothing is judged meanwhile."""
    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]

    assert pool["reconnect_timeout"] <= pool["timeout"]
