"""The first start makes an organization and its Owner, once, and says how to sign in."""

import io
import re
import threading

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection, connections

from accounts.models.access import ApiKey
from accounts.models.organizations import Organization
from accounts.models.users import User
from alerting.models.alerts import Alert
from heartbeat_project.kernel import clock
from integrations.heartbeats import history
from integrations.heartbeats.history import partition_of
from integrations.heartbeats.selectors import state_of
from integrations.heartbeats.tick import tick
from integrations.inbound import days
from integrations.models.heartbeats import Heartbeat
from integrations.models.history import Ping, PingDay
from integrations.models.integrations import InboundIntegration
from integrations.ping_lane.batch import Arrival, record_pings, record_pulse
from tests.factories import HeartbeatFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Wait for locks: a test is one transaction, which keeps the short time limit of what makes partitions."""
    monkeypatch.setattr(history, "LOCK_TIMEOUT", "30s")
    monkeypatch.setattr(days, "LOCK_TIMEOUT", "30s")


@pytest.fixture(autouse=True)
def from_environment(settings):
    settings.BASE_URL = "https://beat.example.org"
    settings.OWNER_EMAIL = "Boss@Example.com"
    settings.OWNER_PASSWORD = ""
    settings.OWNER_API_KEY = ""


@pytest.fixture
def bootstrap(capsys):
    def run(**options):
        call_command("bootstrap", **options)
        # Not what is logged: autovacuum may hold a lock, so that a partition is left to the next task.
        lines = capsys.readouterr().out.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("{"))

    return run


def test_the_first_start_says_how_to_sign_in_and_it_works(bootstrap, client):
    said = bootstrap()
    found = re.fullmatch(
        r"Sign in at https://beat\.example\.org/login/ as boss@example\.com with the password (\S{16,})\n", said
    )
    assert found, said
    assert client.login(username="boss@example.com", password=found[1])


def test_the_days_of_the_history_are_there_for_the_first_ping(bootstrap):
    bootstrap()
    assert PingDay.objects.count() == 8
    now = clock.now()
    assert record_pings([Arrival(token=HeartbeatFactory().token, received_at=now)])[0] is not None
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM integrations_ping")
        assert cursor.fetchall() == [(partition_of(now.date()),)]


def test_the_owner_stands_alone_in_a_ready_organization(bootstrap):
    bootstrap()
    owner = User.objects.get()
    assert owner.is_owner
    assert owner.organization.name == "My organization"
    assert owner.organization.roles.count() == 7
    assert owner.organization.escalation_policies.count() == 5
    group = owner.organization.groups.get()
    assert group.name == "First responders"
    assert list(group.members.values_list("user", "role")) == [(owner.pk, "primary")]
    assert not ApiKey.objects.exists()


def test_later_starts_change_nothing_and_show_no_password(bootstrap, settings):
    bootstrap()
    password = User.objects.get().password
    settings.OWNER_PASSWORD, settings.OWNER_API_KEY = "correct horse battery", "hb_another"
    settings.OWNER_EMAIL = "else@example.com"
    assert bootstrap() == "Sign in at https://beat.example.org/login/ as boss@example.com\n"
    assert User.objects.get().password == password
    assert Organization.objects.count() == 1
    assert not ApiKey.objects.exists()


def test_a_given_password_and_key_are_taken_and_not_printed(bootstrap, settings, client):
    settings.OWNER_PASSWORD, settings.OWNER_API_KEY = "correct horse battery", "hb_given-by-the-operator"
    assert bootstrap() == "Sign in at https://beat.example.org/login/ as boss@example.com\n"
    assert client.login(username="boss@example.com", password="correct horse battery")
    response = client.get("/api/v1/users/me/", HTTP_API_KEY="hb_given-by-the-operator")
    assert response.json()["email"] == "boss@example.com"


@pytest.mark.parametrize(
    "weak", ["secret", "password123", "7301946528130", "aaaaaaaaaaaaaaaa", "abababababab", "boss@example.com"]
)
def test_a_weak_given_password_stops_the_start_with_one_sentence_and_leaves_nothing(bootstrap, settings, weak):
    settings.OWNER_PASSWORD = weak
    with pytest.raises(CommandError, match=r"^HEARTBEAT_OWNER_PASSWORD is too weak\. "):
        bootstrap()
    assert not Organization.objects.exists()


def test_an_address_that_is_none_stops_the_start_and_leaves_nothing(bootstrap, settings):
    settings.OWNER_EMAIL = "boss"
    with pytest.raises(CommandError, match="HEARTBEAT_OWNER_EMAIL"):
        bootstrap()
    assert not Organization.objects.exists()


def test_an_organization_without_an_owner_is_said(bootstrap, now):
    Organization.objects.create(name="Empty", created_at=now)
    with pytest.raises(CommandError, match="Empty"):
        bootstrap()


class TestDemo:
    def test_it_shows_every_state_and_fills_once(self, bootstrap):
        said = bootstrap(demo=True)
        assert "13 heartbeats and an API integration" in said
        assert InboundIntegration.objects.get(type="api").name == "Grafana"
        now = clock.now()
        states = [state_of(row, now=now) for row in Heartbeat.objects.all()]
        assert {state: states.count(state) for state in set(states)} == {
            "healthy": 10,
            "waiting": 1,
            "disabled": 1,
            "maintenance": 1,
        }
        assert Ping.objects.count() > 500
        assert {alert.status for alert in Alert.objects.all()} == {"assigned", "on_hold", "closed"}
        before = User.objects.count()
        assert "Nothing was added" in bootstrap(demo=True)
        InboundIntegration.objects.all().delete()
        assert "Nothing was added" in bootstrap(demo=True)
        assert User.objects.count() == before

    def test_the_engine_finds_exactly_two_silent(self, bootstrap):
        bootstrap(demo=True)
        now = clock.now()
        record_pulse(now=now)
        tick(now=now)
        assert sorted(Alert.objects.filter(status="open").values_list("source_name", flat=True)) == [
            "Badge reader sync",
            "Off-site copy of the backups",
        ]
        assert not mail.outbox

    def test_everybody_in_it_has_an_address_that_belongs_to_nobody(self, bootstrap):
        bootstrap(demo=True)
        people = User.objects.filter(is_owner=False)
        assert all(person.email.endswith(".example") and not person.has_usable_password() for person in people)


@pytest.mark.django_db(transaction=True)
def test_two_first_starts_at_once_make_one_owner(close_connections):
    together, said = threading.Barrier(2), []

    def start():
        out = io.StringIO()
        together.wait(10)
        try:
            call_command("bootstrap", stdout=out)
            said.append(out.getvalue())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Organization.objects.count() == 1
    assert User.objects.count() == 1
    assert sorted("password" in line for line in said) == [False, True]


@pytest.fixture
def further(capsys):
    def run(name, email):
        call_command("create_organization", name, email)
        return capsys.readouterr().out

    return run


def test_a_further_organization_has_its_own_owner_rules_and_group(bootstrap, further, client):
    bootstrap()
    said = further("Beta", "ben@example.com")

    password = re.findall(r"as ben@example\.com with the password (\S+)", said)[0]
    assert client.login(username="ben@example.com", password=password)
    beta = Organization.objects.get(name="Beta")
    owner = User.objects.get(organization=beta)
    assert owner.is_owner
    assert (
        beta.escalation_policies.count() == Organization.objects.get(name="My organization").escalation_policies.count()
    )
    assert [member.user for group in beta.groups.all() for member in group.members.all()] == [owner]


@pytest.mark.parametrize(
    ("name", "email", "says"),
    [
        (" beta ", "other@example.com", "There is an organization “beta” already."),
        ("Gamma", "BEN@example.com", "ben@example.com|BEN@example.com"),
        ("Gamma", "nonsense", "nonsense: Enter an e-mail address"),
        (" ", "other@example.com", "Enter a name"),
        ("two\nlines", "other@example.com", "Enter a name of one line"),
    ],
)
def test_what_cannot_be_created_is_said_and_leaves_nothing(further, name, email, says):
    further("Beta", "ben@example.com")

    with pytest.raises(CommandError, match=says):
        further(name, email)

    assert Organization.objects.count() == 1
    assert User.objects.count() == 1
