"""Everything that is configured, changed over every way in: each change is in the audit log, with who, what and how."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from accounts.models.access import ApiKey
from accounts.models.audit import OBJECT_TYPES, AuditEntry
from accounts.models.organizations import Organization
from heartbeat_project.kernel.audit import Actor, acting
from tests import factories
from tests.integration.audit.conftest import Log, sent_by

pytestmark = pytest.mark.django_db

# Type of the object: resource, table of the object, what is sent, the changed field.
RESOURCES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "integration": ("integrations", "integrations_inboundintegration", {"name": "Renamed"}, "name"),
    "its interval": ("integrations", "integrations_inboundintegration", {"interval_minutes": 7}, "interval_minutes"),
    "maintenance_window": ("maintenance-windows", "integrations_maintenancewindow", {"name": "Renamed"}, "name"),
    "escalation_policy": ("escalation-policies", "escalation_escalationpolicy", {"name": "Renamed"}, "name"),
    "response_play": ("response-plays", "escalation_responseplay", {"name": "Renamed"}, "name"),
    "bridge": ("bridges", "alerting_bridge", {"name": "Renamed"}, "name"),
    "group": ("groups", "accounts_group", {"name": "Renamed"}, "name"),
    "shift": ("shifts", "escalation_shift", {"name": "Renamed"}, "name"),
    "out_of_office": ("out-of-office", "escalation_outofoffice", {"ends_at": "2026-03-04T12:00:00Z"}, "ends_at"),
    "user": ("users", "accounts_user", {"name": "Renamed"}, "name"),
    "role": ("roles", "accounts_role", {"name": "Renamed"}, "name"),
    "organization": ("organizations", "accounts_organization", {"bundle_seconds": 9}, "bundle_seconds"),
    "contact_method": ("contact-methods", "contact method", {"delay_minutes": 3}, "delay_minutes"),
}
# Page in Configuration: the id of its form, the field of the form, its new text, and the changed field.
PAGES = {
    "integrations_inboundintegration": ("name", "Renamed", "name"),
    "integrations_inboundintegration, its interval": ("interval_minutes", "7", "interval_minutes"),
    "integrations_maintenancewindow": ("name", "Renamed", "name"),
    "escalation_escalationpolicy": ("name", "Renamed", "name"),
    "escalation_responseplay": ("name", "Renamed", "name"),
    "alerting_bridge": ("name", "Renamed", "name"),
    "accounts_organization": ("bundle_seconds", "9", "bundle_seconds"),
    "accounts_user": ("name", "Renamed", "name"),
    "accounts_group": ("name", "Renamed", "name"),
    "escalation_shift": ("name", "Renamed", "name"),
    "escalation_outofoffice": ("ends_at", "2026-03-04T12:00", "ends_at"),
    "accounts_role": ("name", "Renamed", "name"),
}
# Table: what is written into it directly, the type of the object, and where the change stands in the entry.
RAW = {
    "accounts_organization": ("UPDATE {} SET time_zone = 'Europe/Paris'", "organization", "time_zone"),
    "accounts_role": ("UPDATE {} SET name = name || '!'", "role", "name"),
    "accounts_user": ("UPDATE {} SET name = name || '!'", "user", "name"),
    "accounts_user_roles": ("DELETE FROM {}", "user", "roles"),
    "accounts_optout": ("DELETE FROM {}", "user", "opt_outs"),
    "accounts_group": ("UPDATE {} SET description = 'x'", "group", "description"),
    "accounts_groupmember": ("UPDATE {} SET role = 'manager'", "group", "members"),
    "accounts_groupnesting": ("UPDATE {} SET position = 5", "group", "groups"),
    "accounts_chatmember": ("DELETE FROM {}", "user", "chat_members"),
    "accounts_contactmethod": ("UPDATE {} SET delay_minutes = 3", "contact_method", "delay_minutes"),
    "accounts_apikey": ("UPDATE {} SET revoked_at = now()", "api_key", "revoked_at"),
    "alerting_bridge": ("UPDATE {} SET access_code = '1'", "bridge", "access_code"),
    "escalation_escalationpolicy": ("UPDATE {} SET repeats = 3", "escalation_policy", "repeats"),
    "escalation_policyrole": ("UPDATE {} SET wait_minutes = 9", "escalation_policy", "roles"),
    "escalation_responseplay": ("UPDATE {} SET enabled = false", "response_play", "enabled"),
    "escalation_playtier": ("UPDATE {} SET offset_minutes = 9", "response_play", "tiers"),
    "escalation_playtier_users": ("DELETE FROM {}", "response_play", "tier_users"),
    "escalation_playtier_groups": ("DELETE FROM {}", "response_play", "tier_groups"),
    "escalation_shift": ("UPDATE {} SET is_override = true", "shift", "is_override"),
    "escalation_shiftwindow": ("UPDATE {} SET ends = '19:00'", "shift", "windows"),
    "escalation_shiftperson": ("UPDATE {} SET role = 'secondary'", "shift", "people"),
    "escalation_outofoffice": ("UPDATE {} SET ends_at = ends_at + interval '1 day'", "out_of_office", "ends_at"),
    "escalation_calendarfeed": ("UPDATE {} SET token = 'another'", "user", "calendar_feeds"),
    "escalation_oncallremindersettings": ("UPDATE {} SET remind_hours = 5", "user", "remind_hours"),
    "integrations_inboundintegration": ("UPDATE {} SET name = name || '!'", "integration", "name"),
    "integrations_inboundintegration_recipient_users": ("DELETE FROM {}", "integration", "recipient_users"),
    "integrations_inboundintegration_recipient_groups": ("DELETE FROM {}", "integration", "recipient_groups"),
    "integrations_eventsettings": ("UPDATE {} SET allow_get = NOT allow_get", "integration", "allow_get"),
    "integrations_chatsettings": ("UPDATE {} SET updates = 'channel'", "integration", "updates"),
    "integrations_heartbeat": ("UPDATE {} SET grace_minutes = 3", "integration", "grace_minutes"),
    "integrations_maintenancewindow": (
        "UPDATE {} SET all_integrations = false",
        "maintenance_window",
        "all_integrations",
    ),
    "integrations_maintenancewindow_integrations": ("DELETE FROM {}", "maintenance_window", "integrations"),
}


def target(full, table):
    if table == "contact method":
        return full.people["Owner"].contact_methods.get(label="Hook")
    return full.objects[table]


@pytest.mark.parametrize("via", ["key", "rest"])
@pytest.mark.parametrize("what", RESOURCES)
def test_a_change_over_the_api_is_in_it(full, log, client_for, what, via):
    resource, table, body, field = RESOURCES[what]
    row, owner = target(full, table), full.people["Owner"]
    if via == "key":
        client = client_for(owner)
    else:
        client = APIClient()
        client.force_login(owner)
    log.new()

    answer = client.patch(f"/api/v1/{resource}/{row.pk}/", body, format="json", REMOTE_ADDR="192.0.2.7")

    assert answer.status_code == 200, answer.content
    (entry,) = [entry for entry in log.new() if field in (entry.after or {})]
    assert (entry.object_type, entry.object_id, entry.action) == (
        what.replace("its interval", "integration"),
        row.pk,
        "changed",
    )
    assert (entry.actor_id, entry.actor_name, entry.via, entry.address) == (owner.pk, owner.name, via, "192.0.2.7")
    assert entry.before.keys() == entry.after.keys() == {field}
    assert entry.before != entry.after
    if isinstance(body[field], int | str) and field != "ends_at":
        assert entry.after[field] == body[field]


def test_the_table_of_resources_has_every_configured_object():
    assert {*RESOURCES} - {"its interval"} | {"api_key"} | {"alert", "audit_log", "installation", "secret_key"} == {
        *OBJECT_TYPES
    }


@pytest.mark.parametrize("page", PAGES)
def test_a_change_on_a_page_is_in_it(full, log, signed_in, page):
    field, text, changed = PAGES[page]
    table = page.partition(",")[0]
    row, owner = full.objects[table], full.people["Owner"]
    app, _, model = table.partition("_")
    address = f"/admin/{app}/{model}/{row.pk}/change/"
    browser = signed_in(owner)
    data = sent_by(browser.get(address).content.decode(), f"{model}_form")
    assert field in data
    log.new()

    answer = browser.post(address, data | {field: text, "confirmed": ""}, REMOTE_ADDR="192.0.2.8")

    assert answer.status_code == 302, answer.content.decode()
    (entry,) = [entry for entry in log.new() if changed in (entry.after or {})]
    assert (entry.object_id, entry.action, entry.via) == (row.pk, "changed", "page")
    assert (entry.actor_id, entry.address) == (owner.pk, "192.0.2.8")


def test_a_contact_method_and_a_key_of_ones_own_are_in_it(full, log, signed_in):
    basic = full.people["Basic"]
    browser = signed_in(basic)

    browser.post("/profile/contact-methods/add/", {"kind": "email", "label": "Home", "address": "home@example.com"})
    (made,) = log.new(object_type="contact_method")
    assert (made.action, made.actor_id, made.via, made.before) == ("created", basic.pk, "page", None)
    assert (made.after["label"], made.after["address"]) == ("Home", "home@example.com")
    assert made.object_name == "Home of Basic"
    browser.post("/profile/api-keys/add/", {"name": "cron"})
    (made,) = log.new(object_type="api_key")
    assert (made.action, made.object_name, made.via) == ("created", "cron of Basic", "page")
    browser.post(f"/profile/api-keys/{ApiKey.objects.get(name='cron').pk}/revoke/", {"confirmed": "yes"})
    (revoked,) = log.new(object_type="api_key")
    assert revoked.before == {"revoked_at": None}
    assert revoked.after["revoked_at"]


def test_what_is_made_and_deleted_over_the_api_is_in_it(full, log, client_for):
    api = client_for(full.people["Owner"])
    log.new()

    made = api.post("/api/v1/bridges/", {"name": "Ops", "meeting_url": "https://meet.example.com/1"}, format="json")
    (entry,) = log.new()
    assert (entry.action, entry.object_type, entry.object_id) == ("created", "bridge", made.json()["id"])
    assert entry.before is None
    assert entry.after == {
        "name": "Ops",
        "meeting_url": "https://meet.example.com/1",
        "phone_number": "",
        "access_code": "",
    }
    api.delete(f"/api/v1/bridges/{made.json()['id']}/")
    (entry,) = log.new()
    assert (entry.action, entry.object_name, entry.after) == ("deleted", "Ops", None)
    assert entry.before["name"] == "Ops"


def test_a_new_heartbeat_is_in_it_with_its_settings_and_a_deleted_one_with_what_it_had(full, log, client_for):
    api, ana = client_for(full.people["Owner"]), full.people["Basic"]
    policy = full.objects["escalation_escalationpolicy"]
    log.new()

    made = api.post(
        "/api/v1/integrations/",
        {
            "type": "heartbeat",
            "name": "Backup",
            "interval_minutes": 15,
            "escalation_policy": policy.pk,
            "recipient_users": [ana.pk],
        },
        format="json",
    ).json()
    created, settings, recipients = log.new(object_id=made["id"])
    assert (created.action, created.after["name"], created.after["escalation_policy"]) == (
        "created",
        "Backup",
        policy.pk,
    )
    assert (settings.action, settings.before["interval_minutes"], settings.after["interval_minutes"]) == (
        "changed",
        None,
        15.0,
    )
    assert {*settings.after} == {"interval_minutes", "grace_minutes", "start_timer", "allow_get"}
    assert (recipients.before, recipients.after) == ({"recipient_users": []}, {"recipient_users": [ana.pk]})
    assert api.delete(f"/api/v1/integrations/{made['id']}/").status_code in {200, 204}
    removed, deleted = log.new(object_id=made["id"])
    assert (removed.before, removed.after) == ({"recipient_users": [ana.pk]}, {"recipient_users": []})
    assert (deleted.action, deleted.object_name, deleted.before["name"]) == ("deleted", "Backup", "Backup")


def tables_with(trigger):
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = %s", [trigger])
        return {table for (table,) in cursor}


def relations():
    return tables_with("audit_inserted")


@pytest.mark.parametrize("table", RAW)
def test_a_change_of_a_table_by_hand_is_in_it(full, log, sql, table):
    statement, object_type, field = RAW[table]
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what they wait with is checked before, not within

    count = sql(statement.format(table))

    assert count
    entries = [entry for entry in log.new() if field in (entry.before or {})]
    mine = AuditEntry.objects.filter(via="sql", object_type=object_type).count()
    assert len(entries) == mine
    # Of a relation, an entry has all rows of one object.
    assert 0 < mine <= count if table in relations() else mine == count
    for entry in entries:
        assert (entry.object_type, entry.actor_id, entry.actor_name) == (object_type, None, "")
        assert (entry.via, entry.address) == ("sql", "")
        assert entry.object_id
        assert entry.object_name
        assert entry.before[field] != (entry.after or {}).get(field) or "another" in statement


def test_the_table_of_changes_by_hand_has_every_table_with_a_trigger():
    assert tables_with("audit_row") | relations() == {*RAW}
    assert tables_with("audit_row").isdisjoint(relations())
    assert relations() == tables_with("audit_updated") == tables_with("audit_deleted")


def test_what_changes_nothing_writes_nothing(full, log, sql):
    sql("UPDATE accounts_group SET name = name")
    sql("UPDATE accounts_contactmethod SET failures = 3, failing_since = now(), code_digest = 'x', send_error = 'x'")
    sql("UPDATE accounts_apikey SET last_used_at = now()")
    sql("UPDATE accounts_user SET last_login = now()")
    sql("UPDATE escalation_shift SET calendar_read_at = now(), calendar_error = 'x'")
    sql("UPDATE integrations_maintenancewindow SET applied_at = now()")
    assert log.new() == []


class TestCommands:
    """What `manage.py` changes; the test calls the program's own function within the test's transaction."""

    def test_a_new_organization(self, db, command):
        command("create_organization", "Second", "second@example.com")

        log = Log(Organization.objects.get(name="Second"))
        log.seen = 0
        entries = log.new()
        assert {entry.via for entry in entries} == {"command"}
        assert {entry.actor_id for entry in entries} == {None}
        assert {"organization", "user", "role", "escalation_policy", "contact_method"} <= {
            entry.object_type for entry in entries
        }

    def test_a_new_password(self, full, log, monkeypatch, command):
        owner = full.people["Owner"]
        monkeypatch.setattr("getpass.getpass", lambda *_, **__: "quite a long one 42")

        command("changepassword", owner.email)

        (entry,) = log.new(object_type="user")
        assert (entry.via, entry.before, entry.after) == ("command", {"password": "changed"}, {"password": "changed"})
        (entry,) = AuditEntry.objects.filter(object_type="api_key", via="command")
        assert (entry.after or {})["revoked_at"]

    def test_a_backup(self, full, log, tmp_path, monkeypatch, command):
        monkeypatch.setattr("heartbeat_project.management.commands.backup.write_backup", _write_nothing)
        monkeypatch.setattr("heartbeat_project.management.commands.backup._summary", lambda *_: "")

        command("backup", str(tmp_path / "backup"))

        (entry,) = log.new()
        assert (entry.action, entry.object_type, entry.via) == ("backed_up", "installation", "command")

    def test_a_release(self, full, log, now, command):
        from accounts.services.restores import hold

        hold(taken_at=now - timedelta(minutes=5), now=now)
        command("release")

        (entry,) = log.new()
        assert (entry.action, entry.object_type, entry.via) == ("released", "installation", "command")

    def test_another_secret_key(self, full, log, settings, command):
        call_command("bootstrap")
        settings.SECRET_KEY = "another-one"
        log.new()

        command("bootstrap", "--new-secret-key")

        (entry,) = log.new()
        assert (entry.action, entry.object_type, entry.via, entry.after) == ("changed", "secret_key", "command", None)


def _write_nothing(stream, *, now):
    stream.write(b"x")


def test_what_a_process_of_ours_does_by_itself_is_neither_a_persons_nor_the_databases(full, log):
    group = full.objects["accounts_group"]
    group.description = "x"
    group.save()
    (entry,) = log.new()
    assert (entry.via, entry.actor_id) == ("worker", None)


def test_an_entry_about_a_part_whose_whole_is_gone_is_the_actors_organizations(full, log):
    group = full.objects["accounts_group"]
    owner = full.people["Owner"]
    me = Actor(via="page", user=owner.pk, name=owner.name, organization=owner.organization_id)
    with acting(lambda: me), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute("UPDATE accounts_groupmember SET group_id = 0 WHERE group_id = %s", [group.pk])
        gone, left = sorted(log.new(), key=lambda entry: entry.object_id)
        cursor.execute("UPDATE accounts_groupmember SET group_id = %s WHERE group_id = 0", [group.pk])
    members = left.before["members"]
    assert members
    assert (left.object_id, left.object_name, left.after) == (group.pk, group.name, {"members": []})
    assert (gone.object_id, gone.object_name, gone.actor_id) == (0, "", owner.pk)
    assert (gone.before, gone.after) == ({"members": []}, {"members": members})


@pytest.mark.parametrize(
    "page", ["accounts_group", "escalation_escalationpolicy", "escalation_shift", "escalation_responseplay"]
)
def test_a_form_that_is_saved_again_as_it_was_writes_nothing(full, log, signed_in, page):
    app, _, model = page.partition("_")
    address = f"/admin/{app}/{model}/{full.objects[page].pk}/change/"
    browser = signed_in(full.people["Owner"])
    data = sent_by(browser.get(address).content.decode(), f"{model}_form")
    log.new()
    assert browser.post(address, data).status_code == 302
    assert log.new() == []


def test_one_member_more_is_one_entry(full, log, client_for):
    basic, owner = full.people["Basic"], full.people["Owner"]
    group = full.objects["accounts_group"]
    api = client_for(owner)
    log.new()
    members = [{"user": basic.pk, "role": "primary"}, {"user": owner.pk, "role": "manager"}]
    assert api.patch(f"/api/v1/groups/{group.pk}/", {"members": members}, format="json").status_code == 200
    (entry,) = log.new()
    assert (entry.object_type, entry.object_id, entry.action) == ("group", group.pk, "changed")
    first = {"user": basic.pk, "role": "primary", "position": 0}
    second = {"user": owner.pk, "role": "manager", "position": 1}
    assert (entry.before, entry.after) == ({"members": [first]}, {"members": [first, second]})


def test_a_relation_is_in_it_as_it_was_and_as_it_is(full, log, sql):
    """Each statement that changes it is one entry of each object, in the order of the positions."""
    basic, viewer, owner = (full.people[name] for name in ("Basic", "System Viewer", "Owner"))
    group = full.objects["accounts_group"]
    other = factories.GroupFactory(organization=full.organization, primary=[basic])
    log.new()
    insert = "INSERT INTO accounts_groupmember (group_id, user_id, role, position) VALUES"
    sql("DELETE FROM accounts_groupmember WHERE group_id = %s", [group.pk])
    log.new()

    sql(f"{insert} (%s, %s, 'primary', 1), (%s, %s, 'primary', 0)", [group.pk, viewer.pk, group.pk, owner.pk])
    (entry,) = log.new()
    mine = [{"user": pk, "role": "primary", "position": at} for at, pk in enumerate([owner.pk, viewer.pk])]
    assert (entry.before, entry.after) == ({"members": []}, {"members": mine})

    sql("UPDATE accounts_groupmember SET role = 'manager' WHERE user_id = %s", [viewer.pk])
    (entry,) = log.new(object_id=group.pk)
    changed = [mine[0], mine[1] | {"role": "manager"}]
    assert (entry.before, entry.after) == ({"members": mine}, {"members": changed})

    sql("UPDATE accounts_groupmember SET group_id = %s WHERE user_id = %s", [other.pk, viewer.pk])
    here, there = (log_entry for log_entry in sorted(log.new(), key=lambda entry: entry.object_id != group.pk))
    assert (here.before, here.after) == ({"members": changed}, {"members": changed[:1]})
    assert there.object_id == other.pk
    assert (len(there.before["members"]), len(there.after["members"])) == (1, 2)

    sql("DELETE FROM accounts_groupmember WHERE group_id IN (%s, %s)", [group.pk, other.pk])
    assert {(entry.object_id, *map(str, entry.after.items())) for entry in log.new()} == {
        (pk, "('members', [])") for pk in (group.pk, other.pk)
    }


def test_one_role_more_is_in_it_as_both_lists_of_ids(full, log, client_for):
    basic, roles = full.people["Basic"], full.organization.roles
    first, second = roles.get(name="Basic").pk, roles.get(name="App Admin").pk
    api = client_for(full.people["Owner"])
    log.new()

    answer = api.patch(f"/api/v1/users/{basic.pk}/", {"roles": [first, second]}, format="json")

    assert answer.status_code == 200, answer.content
    (entry,) = log.new()
    assert (entry.before, entry.after) == ({"roles": [first]}, {"roles": [first, second]})
    assert api.get(f"/api/v1/audit-log/{entry.pk}/").json()["after"] == {"roles": [first, second]}


def test_who_is_in_a_play_is_in_it_with_the_times_of_their_tiers(full, log, client_for):
    """A changed play gets new tiers, so their ids would say nothing."""
    play, basic = full.objects["escalation_responseplay"], full.people["Basic"]
    api = client_for(full.people["Owner"])
    log.new()

    tiers = [{"offset_minutes": 0, "users": [basic.pk]}, {"offset_minutes": 7, "users": [basic.pk]}]
    answer = api.patch(f"/api/v1/response-plays/{play.pk}/", {"tiers": tiers}, format="json")

    assert answer.status_code == 200, answer.content
    entries = log.new(object_id=play.pk)
    assert [entry.after["tiers"] for entry in entries if "tiers" in entry.after] == [[], [0, 7]]
    users = [entry.after["tier_users"] for entry in entries if "tier_users" in entry.after][-1]
    assert [(row["user"], row["offset_minutes"]) for row in users] == [(basic.pk, 0), (basic.pk, 7)]


def test_the_triggers_of_rows_come_back_with_an_earlier_version(full):
    operation = import_module("accounts.migrations.0003_audit_relations").Migration.operations[1]
    with connection.schema_editor() as editor:
        operation.database_backwards("accounts", editor, None, None)
        assert "accounts_user_roles" in tables_with("audit_row")
        assert "accounts_user_roles" not in relations()
        operation.database_forwards("accounts", editor, None, None)
        assert "accounts_user_roles" in relations()
