"""Fills the tables with a number of heartbeats, in a few statements."""

from collections.abc import Callable
from typing import Any

from django.db import connection

from heartbeat_project.kernel import clock
from integrations.heartbeats.history import keep_history

BASE = """
INSERT INTO accounts_organization (id, name, time_zone, created_at) VALUES (900, 'Benchmark', 'UTC', now());
INSERT INTO escalation_escalationpolicy (id, organization_id, name, description, priority, enabled, quick_launch,
    notify_using, next_group_wait_minutes, acknowledge_stops, recovery_notice, repeats, version)
    VALUES (900, 900, 'At once', '', 'high', true, false, 'user', 0, false, true, 0, 1);
INSERT INTO escalation_policyrole (policy_id, role, wait_minutes, between_members_minutes, retries,
    retry_interval_minutes, contact_labels)
    VALUES (900, 'primary', 0, 0, 0, 5, '{}'), (900, 'secondary', 5, 0, 0, 5, '{}'), (900, 'manager', 5, 0, 0, 5, '{}');
INSERT INTO accounts_group (id, organization_id, name, description, created_at)
    SELECT 900 + n, 900, 'Team ' || n, '', now() FROM generate_series(1, %(teams)s) AS n;
INSERT INTO accounts_user (id, organization_id, password, email, name, kind, time_zone, is_active, is_owner, created_at)
    SELECT 900 + n, 900, '', 'person' || n || '@example.com', 'Person ' || n, 'standard', 'UTC', true, n = 1, now()
    FROM generate_series(1, %(teams)s) AS n;
INSERT INTO accounts_role (id, organization_id, name, builtin, entitlements)
    VALUES (900, 900, 'Basic', 'Basic', '{Messages_View_GroupAccess,Messages_View_UserAccess}');
INSERT INTO accounts_user_roles (user_id, role_id) SELECT 900 + n, 900 FROM generate_series(1, %(teams)s) AS n;
INSERT INTO accounts_contactmethod (user_id, kind, label, address, position, enabled, delay_minutes, verified_at,
    code_digest, code_tries)
    SELECT 900 + n, 'email', 'Email-Official', 'person' || n || '@example.com', 0, true, 0, now(), '', 0
    FROM generate_series(1, %(teams)s) AS n;
INSERT INTO accounts_groupmember (group_id, user_id, role, position)
    SELECT 900 + n, 900 + n, 'primary', 0 FROM generate_series(1, %(teams)s) AS n;
"""
HEARTBEATS = """
INSERT INTO integrations_inboundintegration (id, organization_id, type, name, token, escalation_policy_id, enabled,
    created_at)
    SELECT n, 900, 'heartbeat', 'job ' || n, 'bench-' || n, 900, true, now() FROM generate_series(1, %(n)s) AS n;
INSERT INTO integrations_inboundintegration_recipient_groups (inboundintegration_id, group_id)
    SELECT n, 901 + (n + more) %% %(teams)s FROM generate_series(1, %(n)s) AS n, generate_series(1, %(each)s) AS more;
INSERT INTO integrations_heartbeat (integration_id, interval_minutes, grace_minutes, start_timer, allow_get, state,
    ping_count, last_ping_at, armed_at, deadline_at, error)
    SELECT n, 60, 0, 'when_enabled', false, 'healthy', 1, now(), now(), now() + interval '1 hour', ''
    FROM generate_series(1, %(n)s) AS n;
"""
EMPTY = (
    "TRUNCATE accounts_organization, integrations_ingeststate, integrations_ingestprocess, integrations_outage,"
    " integrations_ping, alerting_timelineentry, integrations_heartbeatevent CASCADE"
)


TEAMS = 5


def fill(heartbeats: int, *, teams_each: int = 1) -> None:
    """Empty the tables and fill them with one organization, five teams of one person, and `heartbeats` heartbeats.

    Each heartbeat notifies `teams_each` of the teams.
    """
    with connection.cursor() as cursor:
        cursor.execute(EMPTY)
        fill_with(cursor.execute, heartbeats, teams_each=teams_each)
    keep_history(now=clock.now())  # creates the partition of today, as in a running installation
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def fill_with(execute: Callable[..., Any], heartbeats: int, *, teams_each: int = 1) -> None:
    """Fill empty tables as `fill` does, with a function that executes a statement with parameters."""
    parameters = {"n": heartbeats, "teams": TEAMS, "each": teams_each}
    # Without triggers: a million entries in the audit log would take longer than the rows.
    execute("SET session_replication_role = replica", None)
    for sentence in (BASE + HEARTBEATS).strip().split(";\n"):
        execute(sentence.rstrip(";"), parameters if "%(" in sentence else None)
    execute("SET session_replication_role = DEFAULT", None)


def make_due(count: int, *, of: int) -> None:
    """Set the deadlines of `count` heartbeats, spread over all `of` them, to now, and the watermark behind now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE integrations_heartbeat SET last_ping_at = now() - interval '1 hour',"
            " armed_at = now() - interval '1 hour', deadline_at = now()"
            " WHERE integration_id %% %s = 0 AND integration_id <= %s",
            [of // count, of],
        )
        cursor.execute(
            "INSERT INTO integrations_ingeststate (id, stored_until) VALUES (1, now() + interval '1 second')"
            " ON CONFLICT (id) DO UPDATE SET stored_until = EXCLUDED.stored_until"
        )
