"""The first start makes an organization and its Owner, once, and says how to sign in."""

import io
import re
import threading

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connections

from accounts.models import ApiKey, Organization, User
from alerting.models import Alert
from heartbeat_project.kernel import clock
from integrations.ingest.record import record_pulse
from integrations.models import Heartbeat, InboundIntegration, Ping
from integrations.selectors import state_of
from integrations.services.tick import tick

pytestmark = pytest.mark.django_db


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
        return capsys.readouterr().out

    return run


def test_the_first_start_says_how_to_sign_in_and_it_works(bootstrap, client):
    said = bootstrap()
    found = re.fullmatch(
        r"Sign in at https://beat\.example\.org/login/ as boss@example\.com with the password (\S{16,})\n", said
    )
    assert found, said
    assert client.login(username="boss@example.com", password=found[1])


def test_the_owner_stands_alone_in_a_ready_organization(bootstrap):
    bootstrap()
    owner = User.objects.get()
    assert owner.is_owner
    assert owner.organization.name == "My organization"
    assert owner.organization.roles.count() == 7
    assert owner.organization.escalation_policies.count() == 5
    group = owner.organization.groups.get()
    assert group.name == "On call"
    assert list(group.members.values_list("user", "role")) == [(owner.pk, "primary")]
    assert not ApiKey.objects.exists()


def test_later_starts_change_nothing_and_tell_no_password(bootstrap, settings):
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


def test_a_weak_given_password_is_taken_and_said_to_be_weak(bootstrap, settings, client):
    settings.OWNER_PASSWORD = "secret"
    assert "HEARTBEAT_OWNER_PASSWORD is weak" in bootstrap()
    assert client.login(username="boss@example.com", password="secret")


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
        assert "13 heartbeats" in said
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
