"""The statements that run with each event read its integration's few rows by index, however many others have.

They are prepared, so that PostgreSQL may plan them without their parameters: both plans are looked at.
"""

import re
from datetime import timedelta

import pytest
from django.db import connection

from heartbeat_project.kernel.sql import records, statement
from tests.conftest import NOON

pytestmark = pytest.mark.django_db

FILL = """
INSERT INTO accounts_organization (id, name, time_zone, created_at) VALUES (900, 'big', 'UTC', %(now)s);
INSERT INTO accounts_user (id, password, organization_id, email, name, kind, time_zone, is_active, is_owner, created_at)
    SELECT n, '', 900, n || '@example.com', 'Ana', 'standard', 'UTC', true, false, %(now)s FROM generate_series(90001, 90010) AS n;
INSERT INTO accounts_group (id, organization_id, name, description, created_at)
    SELECT n, 900, 'group ' || n, '', %(now)s FROM generate_series(90001, 90010) AS n;
INSERT INTO escalation_escalationpolicy (id, organization_id, name, description, priority, enabled, quick_launch, notify_using,
    next_group_wait_minutes, acknowledge_stops, recovery_notice, repeats, version)
    VALUES (900, 900, 'p', '', 'high', true, false, 'user', 0, false, true, 0, 1);
INSERT INTO integrations_inboundintegration (id, organization_id, type, name, token, escalation_policy_id, enabled, created_at)
    SELECT n, 900, 'api', 'shop ' || n, 'token' || n, 900, true, %(now)s FROM generate_series(1, 2000) AS n;
INSERT INTO integrations_inboundintegration_recipient_users (inboundintegration_id, user_id)
    SELECT n, u FROM generate_series(1, 2000) AS n, generate_series(90001, 90005) AS u;
INSERT INTO integrations_inboundintegration_recipient_groups (inboundintegration_id, group_id)
    SELECT n, g FROM generate_series(1, 2000) AS n, generate_series(90001, 90005) AS g;
INSERT INTO accounts_optout (user_id, integration_id, created_at)
    SELECT u, n, %(now)s FROM generate_series(1, 2000) AS n, generate_series(90001, 90003) AS u;
INSERT INTO alerting_alert (id, organization_id, status, priority, subject, short_text, long_text, facts, source, source_name,
    source_id, integration_id, integration_type, key_hash, event_count, opened_at, closed_at, close_reason)
    SELECT n, 900, CASE WHEN n %% 10 = 0 THEN 'open' ELSE 'closed' END, 'high', 's', 's', 'l', '[]', 'API', 'shop', n::text,
           CASE WHEN n %% 2 = 0 THEN 7 ELSE n %% 2000 + 1 END, 'api', md5(n::text), 1, %(now)s, CASE WHEN n %% 10 = 0 THEN NULL ELSE %(now)s::timestamptz END, ''
    FROM generate_series(1, 20000) AS n;
INSERT INTO alerting_alertmember (alert_id, integration_id, key_hash, source_id, subject, is_open, opened_at, event_count,
    last_event_at)
    SELECT n, n %% 2000 + 1, md5(n::text || k), n || '-' || k, 's', n %% 10 = 0, %(now)s, 1, %(now)s
    FROM generate_series(1, 20000) AS n, generate_series(1, 2) AS k;
INSERT INTO alerting_timelineentry (alert_id, at, kind, text)
    SELECT n, %(now)s, 'updated', 't' FROM generate_series(1, 20000) AS n, generate_series(1, 2);
INSERT INTO integrations_eventkey (integration_id, key_hash, changed_at, waiting_since, due_at)
    SELECT n %% 2000 + 1, md5(n::text), %(now)s, '[]',
           CASE WHEN n %% 2000 < 20 THEN %(now)s::timestamptz + n * interval '1 second' END
    FROM generate_series(1, 40000) AS n;
ANALYZE;
"""
KEYS = [f"key {number}" for number in range(5)]
EVENTS = [
    {"number": number, "key": key, "subject": "s", "short_text": "s", "long_text": "l", "url": ""}
    for number, key in enumerate(KEYS)
]


@pytest.fixture(scope="module")
def filled_tables(fill_once, django_db_blocker):
    with fill_once(FILL, now=NOON):
        yield NOON
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # how many rows tables have is known beyond the transaction, to other tests as well


@pytest.fixture
def filled(filled_tables, db):
    return filled_tables


@pytest.fixture(params=["auto", "force_generic_plan"])
def plan(request, filled):
    """Return what gives the plan of a statement of integrations with these parameters, or without them."""

    def explain(name, /, **parameters):
        text, names = statement("integrations", name), []

        def numbered(match):
            names.append(match[1])
            return f"${len(names)}"

        text = re.sub(r"%\((\w+)\)s", numbered, text).replace("%%", "%")
        values = ", ".join(["%s"] * len(names))
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL plan_cache_mode = {request.param}")
            cursor.execute(f"PREPARE probe AS {text}".replace("%", "%%"), [])
            try:
                execute = f"EXECUTE probe({values})" if names else "EXECUTE probe"
                cursor.execute(f"EXPLAIN (COSTS OFF) {execute}", [parameters[each] for each in names])
                return "\n".join(line for (line,) in cursor.fetchall())
            finally:
                cursor.execute("DEALLOCATE probe")

    return explain


def test_live_alerts_are_found_by_their_keys_and_their_lines_by_alert(plan, filled):
    found = plan(
        "append_events",
        events=records(EVENTS),
        integration=7,
        now=filled,
        closes_at=None,
        name="Shop",
    )
    assert "one_live_alert_per_key" in found, found
    assert "timeline_by_alert" in found
    assert "member_once" in found
    assert "Seq Scan" not in found


def test_whether_and_for_whom_alerts_open_is_read_by_the_integration(plan, filled):
    found = plan("read_opening", integration=7, now=filled)
    assert "integrations_inboundintegration_pkey" in found, found
    assert "open_member_by_key" in found
    assert "opt_out_once" in found
    for table in ("inboundintegration", "inboundintegration_recipient_users", "inboundintegration_recipient_groups"):
        assert not re.search(rf"Seq Scan on integrations_{table}\b", found), found
    assert not re.search(r"Seq Scan on (accounts_optout|alerting_alertmember)", found), found


def test_kept_keys_are_read_by_the_integration_and_the_key(plan):
    found = plan("read_keys", integration=7, keys=KEYS)
    assert "event_key_once" in found, found
    assert "Seq Scan" not in found


def test_the_state_of_an_integration_is_counted_by_its_primary_key(plan, filled):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the table is empty here
    found = plan("count_event", integration=7, now=filled)
    assert "integrations_eventstate_pkey" in found, found


def test_integrations_with_delays_that_have_passed_cost_a_look_each(plan, filled):
    found = plan("due_integrations", now=filled + timedelta(seconds=500), limit=200)
    assert found.count("event_key_due_of") == 2, found
    assert "Seq Scan" not in found
