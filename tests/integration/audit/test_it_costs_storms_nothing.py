"""What happens by itself, a thousand times a second, does not fire a trigger; every configured table has one."""

import json
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connection

from accounts.models.audit import AuditEntry
from heartbeat_project.kernel.sql import statement
from integrations.models.heartbeats import Heartbeat
from tests import factories
from tests.world import World, minutes

pytestmark = pytest.mark.django_db

# Tables of ours that are no configuration: what happened, what is due, and what processes note for themselves.
NOT_CONFIGURED = {
    *(
        "accounts_auditentry",
        "accounts_chatlinkcode",
        "accounts_installationkey",
        "accounts_restore",
        "accounts_trycount",
    ),
    *("alerting_alert", "alerting_alertmember", "alerting_alertrecipient", "alerting_timelineentry"),
    *("escalation_bundlewindow", "escalation_circuitbreaker", "escalation_escalationrun", "escalation_notification"),
    *("escalation_oncallreminder", "escalation_progress", "escalation_ratelimitstate", "escalation_response"),
    # Entries of a shift are read from its calendar.
    *("escalation_shiftentry", "escalation_shiftnotice", "escalation_storedmail"),
    *("integrations_chatmessage", "integrations_chatthread"),
    *("integrations_clockstep", "integrations_coveragereport", "integrations_coveragewatch"),
    *("integrations_dailylist", "integrations_databaseclock"),
    *("integrations_heartbeatevent", "integrations_inboundevent", "integrations_ingestprocess"),
    *("integrations_eventkey", "integrations_eventstate"),
    *("integrations_ingeststate", "integrations_outage", "integrations_ping", "integrations_pingday"),
    "integrations_stateperiod",
    *("integrations_formertoken", "integrations_monthlyusage", "integrations_pinghour", "integrations_tick"),
}
APPS = ("accounts", "alerting", "escalation", "integrations")


def fired(query, parameters=None):
    """Run a statement and return the triggers that it fired, with the number of their calls."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", parameters)
        found = cursor.fetchone()[0]
    (plan,) = json.loads(found) if isinstance(found, str) else found
    return {trigger["Trigger Name"]: trigger["Calls"] for trigger in plan["Triggers"] if trigger["Calls"]}


def audit_triggers():
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgname LIKE 'audit%'")
        return set(cursor.fetchall())


def test_each_table_is_in_the_log_or_is_no_configuration():
    tables = {
        model._meta.db_table for app in APPS for model in apps.get_app_config(app).get_models(include_auto_created=True)
    }
    seen = {table for table, name in audit_triggers() if name in {"audit_row", "audit_inserted"}}
    assert seen == {table for table, name in audit_triggers() if name in {"audit_update", "audit_updated"}}
    assert seen.isdisjoint(NOT_CONFIGURED)
    assert seen | NOT_CONFIGURED == tables, "a new table needs an AuditTable in its migration, or a line here"


def test_each_column_of_a_heartbeat_is_a_setting_in_the_log_or_belongs_to_its_timer():
    """A new setting must be named in a migration's AuditTable: an update trigger looks at the columns that it names."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_trigger JOIN pg_attribute ON attrelid = tgrelid AND attnum = ANY (tgattr)"
            " WHERE tgrelid = 'integrations_heartbeat'::regclass AND tgname = 'audit_update'"
        )
        settings = {name for (name,) in cursor}
    timer = {
        *("integration_id", "state", "last_ping_at", "last_gap", "ping_count", "armed_at", "deadline_at"),
        *("suspended_until", "set_back", "excused_until", "quarantined_until", "error"),
    }
    assert settings.isdisjoint(timer)
    assert settings | timer == {field.column for field in Heartbeat._meta.local_fields}


def test_a_ping_fires_no_trigger_and_a_new_interval_does(now):
    integration = factories.HeartbeatFactory()
    parameters = {
        "tokens": [integration.token],
        "received": [now],
        "methods": ["POST"],
        "ips": [None],
        "agents": [None],
        "set_back": timedelta(),
        "unmoved": None,
    }
    assert fired(statement("integrations", "record_pings"), parameters) == {}
    assert Heartbeat.objects.get(pk=integration.pk).ping_count == 1
    # The same look at a change of a setting, so that it is sure that it would see a trigger.
    assert fired("UPDATE integrations_heartbeat SET interval_minutes = 9") == {"audit_update": 1}
    # A form that saves all columns, of which no setting differs.
    assert fired("UPDATE integrations_heartbeat SET interval_minutes = 9, allow_get = false, error = 'x'") == {}


def test_a_miss_fires_no_trigger(now):
    integration = factories.HeartbeatFactory()
    due = now + timedelta(days=1)
    claim = {"judge_until": due, "now": due, "limit": 500}
    assert fired(statement("integrations", "claim_missed"), claim) == {}
    marked = fired(statement("integrations", "mark_missed"), {"ids": [integration.pk], "now": due})
    assert not [name for name in marked if name.startswith("audit")]
    assert Heartbeat.objects.get(pk=integration.pk).state == "missed"


def test_a_night_with_pings_misses_pages_and_recoveries_writes_no_entry(world: World):
    jobs = [world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"]) for number in range(5)]
    before = AuditEntry.objects.count()
    assert before > 0
    for job in jobs:
        world.ping(job)
    world.advance(minutes(20))
    assert len(world.alerts()) == 5
    for job in jobs:
        world.ping(job)
    world.advance(minutes(10))
    assert {alert.status for alert in world.alerts()} <= {"closed", "open"}
    assert AuditEntry.objects.count() == before
