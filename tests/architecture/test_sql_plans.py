"""Each statement in a file is served by the index that its header names, on a filled table."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import Role, User
from alerting.selectors import containing
from escalation.models.policies import EscalationPolicy
from heartbeat_project.api.alert_export import AlertExport
from heartbeat_project.console.heartbeat_list import _parts
from heartbeat_project.console.selectors import _silent_first
from heartbeat_project.kernel.sql import statement
from integrations.coverage.consequences import _affected_integrations
from integrations.inbound.mail_addresses import recipient_parameters
from integrations.models.events import InboundEvent
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from integrations.ping_lane.batch import NO_PROCESS, PULSE_PARAMETERS
from tests.conftest import NOON

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path for app in ("integrations", "escalation", "alerting", "accounts") for path in ROOT.glob(f"{app}/sql/*.sql")
)

pytestmark = pytest.mark.django_db

FILL = """
INSERT INTO accounts_organization (id, name, time_zone, created_at) VALUES (900, 'big', 'UTC', %(now)s);
INSERT INTO escalation_escalationpolicy (id, organization_id, name, description, priority, enabled, quick_launch, notify_using,
    next_group_wait_minutes, acknowledge_stops, recovery_notice, repeats, version)
    VALUES (900, 900, 'p', '', 'high', true, false, 'user', 0, false, true, 0, 1);
INSERT INTO integrations_inboundintegration (id, organization_id, type, name, token, escalation_policy_id, enabled, created_at)
    SELECT n, 900, 'heartbeat', 'job ' || n, 'token' || n, 900, true, %(now)s FROM generate_series(1, 20000) AS n;
INSERT INTO integrations_formertoken (token, integration_id, ends_at)
    SELECT 'former' || n, n, %(now)s FROM generate_series(1, 5000) AS n;
INSERT INTO integrations_heartbeat (integration_id, interval_minutes, grace_minutes, start_timer, allow_get, state, ping_count,
    armed_at, deadline_at, error)
    SELECT n, 5, 0, 'when_enabled', false, 'healthy', 0, %(now)s, %(now)s + n * interval '1 second', ''
    FROM generate_series(1, 20000) AS n;
INSERT INTO alerting_alert (organization_id, status, priority, subject, short_text, long_text, facts, source, source_name, source_id,
    integration_id, integration_type, expected_at, opened_at, closed_at, close_reason)
    SELECT 900, CASE WHEN n <= 20 THEN 'open' ELSE 'closed' END, 'high', 's', 's', 'l', '[]', 'Heartbeat', 'job', n::text,
           n, 'heartbeat', %(now)s, %(now)s, CASE WHEN n <= 20 THEN NULL ELSE %(now)s::timestamptz END, ''
    FROM generate_series(1, 20000) AS n;
INSERT INTO accounts_group (id, organization_id, name, description, created_at)
    SELECT n, 900, 'group ' || n, '', %(now)s FROM generate_series(1, 5000) AS n;
INSERT INTO accounts_groupnesting (group_id, child_id, position)
    SELECT n, n + k, 0 FROM generate_series(1, 4000) AS n, generate_series(1, 10) AS k;
ANALYZE;
"""

CONTACTS = """
INSERT INTO accounts_contactmethod (id, group_id, kind, label, address, position, enabled, delay_minutes, code_digest, code_tries,
    failed_at)
    SELECT n, n %% 5000 + 1, 'webhook', 'w' || n, 'https://hooks.example.com/' || n, 0, true, 0, '', 0,
        CASE WHEN n %% 1000 = 0 THEN %(now)s::timestamptz END
    FROM generate_series(1, 20000) AS n;
WITH person AS (
    INSERT INTO accounts_user (password, organization_id, email, name, kind, time_zone, is_active, is_owner, created_at)
    VALUES ('', 900, 'big@example.com', 'Big', 'standard', 'UTC', true, false, %(now)s)
    RETURNING id
)
INSERT INTO accounts_contactmethod (id, user_id, kind, label, address, position, enabled, delay_minutes, code_digest, code_tries)
    SELECT n + 30000, person.id, 'push', 'p' || n, '{"endpoint":"https://p.example/' || n || '"}', 0, true, 0, '', 0
    FROM generate_series(1, 5000) AS n
    CROSS JOIN person;
"""

PERIODS = """
INSERT INTO integrations_stateperiod (integration_id, kind, started_at, ended_at)
    SELECT n, 'missed', %(now)s::timestamptz - k * interval '1 day', %(now)s::timestamptz - k * interval '1 day' + interval '1 hour'
    FROM generate_series(1, 5000) AS n, generate_series(1, 20) AS k
    UNION ALL
    SELECT n, 'missed', %(now)s, NULL FROM generate_series(1, 20) AS n
"""


@pytest.fixture(scope="module")
def filled_tables(fill_once):
    with fill_once(FILL, now=NOON):
        yield NOON


@pytest.fixture
def filled(filled_tables, db):
    return filled_tables


def add_contacts(now):
    with connection.cursor() as cursor:
        for sentence in CONTACTS.strip().split(";\n"):
            cursor.execute(sentence, {"now": now})
        cursor.execute("ANALYZE accounts_contactmethod")


def plan(name: str, parameters: dict, *, app: str = "integrations") -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS OFF) {statement(app, name)}", parameters)
        return "\n".join(line for (line,) in cursor.fetchall())


def explained(query: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS OFF) {query}")
        return "\n".join(line for (line,) in cursor.fetchall())


def test_each_statement_says_what_it_does_and_which_index_serves_it():
    assert FILES
    for path in FILES:
        first, second, *_ = path.read_text("utf-8").splitlines()
        assert first.startswith("-- "), path
        assert second.startswith("-- Index: "), path


def test_pings_are_recorded_by_the_token_and_the_primary_keys(filled):
    parameters = {"tokens": ["token7", "token9"], "received": [filled] * 2, "methods": ["POST"] * 2, "ips": [None] * 2}
    found = plan("record_pings", {**parameters, "agents": [None] * 2, "set_back": timedelta(), "unmoved": None})
    assert re.search(r"Index Scan using integrations_inboundintegration_token", found), found
    assert "Index Scan using integrations_heartbeat_pkey" in found
    assert re.search(r"Index Scan using integrations_formertoken_(pkey|token)", found), found
    assert "Seq Scan on integrations" not in found


def test_the_detector_reads_only_what_is_due(filled):
    found = plan("claim_missed", {"judge_until": filled + timedelta(seconds=20), "now": filled, "limit": 500})
    assert "heartbeat_due" in found, found
    assert "Seq Scan" not in found


def test_a_pulse_asks_the_same_index_whether_a_deadline_has_passed(filled):
    found = plan("record_pulse", {"now": filled, **PULSE_PARAMETERS, **NO_PROCESS})
    assert "heartbeat_due" in found, found
    assert "Seq Scan on integrations_heartbeat" not in found


def test_misses_are_marked_and_notified_by_primary_keys(filled):
    found = plan("mark_missed", {"ids": list(range(100, 200)), "now": filled + timedelta(hours=1)})
    assert "integrations_heartbeat_pkey" in found, found
    assert "integrations_inboundintegration_pkey" in found
    assert "Seq Scan on integrations_heartbeat" not in found
    assert "Seq Scan on integrations_inboundintegration " not in found


def test_periods_are_written_and_read_by_the_heartbeats_and_ended_among_the_open_ones(filled, only_partial):
    with connection.cursor() as cursor:
        cursor.execute(PERIODS, {"now": filled})
        cursor.execute("ANALYZE integrations_stateperiod")
    ids = list(range(100, 150))
    for name in ("record_silences", "end_periods"):
        found = plan(name, {"ids": ids, "now": filled})
        assert "one_open_state_period" in found, found
        assert "Seq Scan on integrations_stateperiod" not in found
        assert "Seq Scan on integrations_heartbeat" not in found
    found = plan("end_periods", {"ids": None, "now": filled})
    assert "one_open_state_period" in found, found
    assert "Seq Scan on integrations_stateperiod" not in found
    found = plan("read_periods", {"ids": ids, "since": filled - timedelta(days=1), "limit": 3_000})
    assert "state_period_by_end" in found, found
    for table in ("stateperiod", "heartbeat", "inboundintegration"):
        assert f"Seq Scan on integrations_{table}" not in found


def test_a_step_of_the_clock_moves_deadlines_in_batches_by_primary_key(filled):
    parameters = {"after": 100, "last": 20_000, "limit": 50, "by": timedelta(hours=2), "total": timedelta(hours=2)}
    found = plan("move_heartbeats_back", {**parameters, "until": filled})
    assert "integrations_heartbeat_pkey" in found, found
    assert "Seq Scan on integrations_heartbeat" not in found


def test_the_clock_is_read_with_two_looks(filled):
    found = plan("read_clock", {"now": None, "offset": timedelta()})
    assert "integrations_databaseclock_pkey" in found or "Seq Scan on integrations_databaseclock" in found, found
    assert "clock_step_undone" in found or "Seq Scan on integrations_clockstep" in found, found


@pytest.fixture
def only_partial(filled):
    """Take away the indexes over all alerts: on a small table they cost as little as those over what is live."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks to come cannot be changed
        cursor.execute("DROP INDEX alert_by_status, alert_by_integration")
        cursor.execute("ALTER TABLE alerting_alert DROP CONSTRAINT one_alert_per_silence")


def test_earlier_silences_are_found_among_live_alerts_only(filled, only_partial):
    found = plan("earlier_alerts", {"ids": list(range(100, 200))})
    assert "one_live_alert_per_heartbeat" in found, found
    assert "Seq Scan" not in found


def test_the_recovery_reads_only_live_alerts(filled, only_partial):
    for only in (None, [3, 4]):
        found = plan("recovered_alerts", {"only": only, "limit": 500})
        assert "one_live_alert_per_heartbeat" in found, found
        assert "Seq Scan on alerting_alert" not in found
        assert "Seq Scan on integrations_heartbeat" not in found


def test_an_outage_is_applied_in_batches_by_primary_key(filled):
    found = plan(
        "move_by_outage",
        {"after": 100, "limit": 50, "started_at": filled, "ended_at": filled + timedelta(minutes=1)},
    )
    assert "integrations_heartbeat_pkey" in found, found
    assert "Seq Scan on integrations_heartbeat" not in found


def test_a_page_of_an_export_reads_its_ids_and_no_other_alerts(filled):
    role = {"entitlements": ["Messages_View_GlobalAccess"]}
    viewer = User.objects.create(organization_id=900, email="viewer@example.com", created_at=filled)
    viewer.roles.add(Role.objects.create(organization_id=900, name="Viewer", **role))
    # Matches are rare, and there are none among the newest ids.
    for condition in (Q(), Q(status="open"), containing("nothing")):
        export = AlertExport(viewer, condition, file_format="csv")
        with CaptureQueriesContext(connection) as queries:
            next(export.parts())
        ends, page = (query["sql"] for query in queries.captured_queries[-2:])
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (COSTS OFF) {ends}")
            assert "Index Only Scan" in str(cursor.fetchall())
            cursor.execute(f"EXPLAIN (COSTS OFF) {page}")
            found = "\n".join(line for (line,) in cursor.fetchall())
        # By the primary key, or by an index that has the ids behind what is asked for: both read this page's ids only.
        assert re.search(r"Index Cond: .*\(id >= \d+\) AND \(id < \d+\)\)", found), found
        assert "Seq Scan on alerting_alert" not in found


def test_usage_reads_what_happened_since_the_last_count(filled):
    """The times differ by organization, so the planner knows no values that statistics could be asked about."""
    parameters = {"organizations": [900, 7], "starts": [filled] * 2, "ends_at": filled + timedelta(days=1)}
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO escalation_notification (id, organization_id, user_id, kind, channel, label, address, step, retry,"
            " subject, text, status, attempts, created_at, accepted_at, provider_id, last_error)"
            " SELECT gen_random_uuid(), 900, 1, 'page', 'email', '', '', 0, 0, '', '', 'accepted', 1, %(now)s,"
            " %(now)s::timestamptz - n * interval '1 minute', '', '' FROM generate_series(1, 20000) AS n",
            {"now": filled},
        )
        for analysed in (False, True):
            if analysed:
                cursor.execute("ANALYZE escalation_notification")
            found = plan("count_usage", {**parameters, "stored": "stored"})
            assert re.search(r"alert_by_time( on \w+)?\n +Index Cond: .*organization_id.*opened_at", found), found
            assert re.search(r"notification_by_time( on \w+)?\n +Index Cond: .*organization_id.*accepted_at", found), (
                found
            )
            assert "Seq Scan" not in found


def test_who_opted_out_is_read_by_the_integrations(filled):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the table is empty here
    assert "opt_out_once" in plan("opted_out", {"ids": [7, 8]}, app="accounts")


def test_nested_groups_are_read_from_the_outer_group_on(filled):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the table is empty here
    found = plan("nested_groups", {"ids": [7, 8]}, app="accounts")
    assert "nesting_once" in found, found
    assert "Seq Scan on accounts_groupnesting" not in found


def test_the_numbers_for_prometheus_are_counted_among_what_is_live(filled, only_partial, client):
    with CaptureQueriesContext(connection) as queries:
        said = client.get("/metrics").content.decode()
    assert 'heartbeat_alerts_live{status="open"} 20.0' in said
    assert 'heartbeat_alerts_live{status="assigned"} 0.0' in said
    counts = [query["sql"] for query in queries if 'FROM "alerting_alert"' in query["sql"]]
    with connection.cursor() as cursor:
        for count in counts:
            cursor.execute(f"EXPLAIN (COSTS OFF) {count}")
            found = "\n".join(line for (line,) in cursor.fetchall())
            assert any(name in found for name in ("alert_open", "alert_stopped", "one_live_test")), found
    assert len(counts) == 3


def test_tries_are_counted_by_the_primary_key_and_old_ones_found_by_their_age(filled):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_trycount (key, tries, until)"
            " SELECT n::text, 1, %s::timestamptz + n * interval '1 second' FROM generate_series(1, 20000) AS n",
            [filled],
        )
        cursor.execute("ANALYZE accounts_trycount")
    parameters = {"keys": ["a", "b"], "now": filled, "within": timedelta(minutes=5)}
    found = plan("count_tries", parameters, app="accounts")
    assert "Conflict Arbiter Indexes: accounts_trycount_pkey" in found, found
    assert "try_count_age" in found
    assert "Seq Scan" not in found


def test_refusals_are_counted_by_the_primary_key(filled):
    parameters = {
        "ids": list(range(100, 120)),
        "addresses": ["a@example.com"] * 20,
        "errors": ["no"] * 20,
        "numbers": [1] * 20,
        "phones": ["sms"],
        "now": filled,
    }
    add_contacts(filled)
    found = plan("record_refusals", parameters, app="accounts")
    assert "accounts_contactmethod_pkey" in found, found
    assert "Seq Scan on accounts_contactmethod" not in found


def test_what_fails_and_a_browser_that_renews_are_found_by_their_indexes(filled):
    add_contacts(filled)
    lately = ContactMethod.objects.filter(
        Q(failing_since=None) | Q(failing_since__gt=filled - timedelta(minutes=10)),
        kind__in=["webhook"],
        failed_at__gt=filled - timedelta(minutes=10),
    )
    assert "contact_failed_lately" in lately.explain()
    failing = ContactMethod.objects.filter(failed_at__isnull=False, failing_since__lte=filled)
    assert "contact_failed_lately" in failing.explain()
    browser = ContactMethod.objects.filter(kind="push", address='{"endpoint":"https://p.example/7"}')
    assert "contact_by_subscription" in browser.explain()


def test_what_waits_is_counted_for_each_mail_by_indexes_alone(filled):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO integrations_inboundevent (type, received_at, headers, raw, size, state, attempts, result, "
            "fault,"
            " organization_id, answers, turn) SELECT 'email', %s, '{}', '', 1000,"
            " CASE WHEN n %% 4 = 0 THEN 'waiting' ELSE 'read' END, 0, '[]', '', nullif(n %% 20, 0), "
            "gen_random_uuid(), n"
            " FROM generate_series(1, 40000) AS n",
            [filled],
        )
        cursor.execute("ANALYZE integrations_inboundevent")
        # The table is small here, and just written: which index could serve is asked.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    sizes = dict.fromkeys(("share", "share_bytes", "of_message", "kept_free", "kept_free_bytes"), 1_000)
    parameters = {
        "type": "email",
        "received_at": filled,
        "raw": b"x",
        "size": 1,
        "answers": "0198c0de-0000-7000-8000-000000000000",
        "integration": None,
        "query": "{}",
        "attempts": 3,
        "in_all": 10_000,
        "in_all_bytes": 1 << 30,
        **sizes,
    }
    for organization in (4, None):
        found = plan("store_event", {**parameters, "organization": organization})
        # inbound_share, inbound_by_message and inbound_next, as PostgreSQL names them on a partition.
        assert found.count("other_organization_id_turn_size_idx") == 2, found
        assert "other_answers_idx" in found
        assert "other_attempts_turn_id_idx" in found
        assert "Seq Scan" not in found
    new = InboundEvent.objects.filter(state="waiting", attempts=0, organization__isnull=False).order_by("turn", "id")
    assert "other_attempts_turn_id_idx" in new.explain()
    assert "Sort" not in new[:20].explain()


def test_the_integrations_of_mail_addresses_are_found_by_their_tokens_and_aliases(filled):
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE integrations_inboundintegration SET type = 'email' WHERE id IN "
            "(SELECT id FROM integrations_inboundintegration ORDER BY id LIMIT 2000)"
        )
        cursor.execute(
            "INSERT INTO integrations_eventsettings (integration_id, allow_get, preset, mapping, status_words, rules, "
            "no_rule, delay, storm_per_minute, aliases) SELECT id, false, 'auto', '{}', '{}', '[]', 'continue', '{}', "
            "60, jsonb_build_array('a' || id || '@x.org') FROM integrations_inboundintegration WHERE type = 'email'"
        )
        cursor.execute("ANALYZE integrations_eventsettings; ANALYZE integrations_inboundintegration")
        cursor.execute("SET LOCAL enable_seqscan = off")
    parameters, _keys = recipient_parameters(["a" * 26 + "@x.org", "alerts@corp.org"])
    found = plan("mail_recipients", {**parameters, "now": filled})
    with connection.cursor() as cursor:
        # How many rows a table has is known beyond the transaction, to the plans of other tests as well.
        cursor.execute("DELETE FROM integrations_eventsettings; ANALYZE integrations_eventsettings")
    assert "mail_token" in found
    assert "on integrations_formertoken" in found
    assert "event_settings_aliases" in found
    assert "Seq Scan" not in found


def test_a_page_of_a_list_of_integrations_is_read_in_the_order_of_an_index(filled):
    integrations = InboundIntegration.objects.filter(organization_id=900).order_by("name", "pk")
    found = integrations.values_list("pk")[10_000:10_050].explain()
    assert "integration_by_name" in found, found
    assert "Sort" not in found
    assert "Seq Scan" not in found


def test_rules_that_name_somebody_are_read_without_the_integrations_that_have_none(filled):
    names = {key: [7] for key in ("policies", "plays", "groups", "users")}
    found = plan("named_by_rules", {"organization": 900, **names})
    assert "integrations_inboundintegration_pkey" in found, found
    assert "Seq Scan on integrations_inboundintegration " not in found


def test_integrations_that_a_change_affects_are_found_by_indexes(filled):
    """As few as possible are read: a change is tried in a transaction, which holds locks meanwhile."""
    olga = User.objects.create(organization_id=900, email="olga@example.com", created_at=filled)
    policy = EscalationPolicy.objects.create(organization_id=900, name="of few", priority="high")
    InboundIntegration.objects.filter(pk=77).update(escalation_policy=policy)
    with CaptureQueriesContext(connection) as captured:
        assert _affected_integrations([olga, policy], organization_id=900, now=filled) == [77]
    found = explained(captured.captured_queries[-1]["sql"])
    assert "Append" in found, found
    assert "Seq Scan on integrations_inboundintegration " not in found


@pytest.mark.parametrize("start", [0, 19_500])
def test_the_heartbeats_of_the_panel_are_read_in_the_order_of_their_deadlines(filled, start):
    """A page near the end is read from the end on: else nearly all heartbeats are read and sorted for it."""
    with CaptureQueriesContext(connection) as captured:
        rows = _silent_first(900, details=True, start=start, total=20_000)
    assert [row.pk for row in rows] == list(range(start + 1, start + 51))
    by_deadline = 'ORDER BY "integrations_heartbeat"."deadline_at"'
    [timed] = [
        query["sql"]
        for query in captured
        if "IN ('waiting', 'healthy')" in query["sql"] and by_deadline in query["sql"]
    ]
    found = explained(timed)
    assert "heartbeat_due" in found, found
    assert "Seq Scan" not in found


def test_chats_are_looked_after_by_what_is_open_and_due(filled):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO integrations_chatthread (alert_id, integration_id, channel, root, seen_entry, is_open, created_at) "
            "SELECT id, integration_id, 'C', '1', 0, id % 400 = 0, opened_at FROM alerting_alert"
        )
        cursor.execute(
            "INSERT INTO integrations_chatmessage (key, integration_id, thread_id, kind, url, body, created_at, attempts, "
            "next_attempt_at, last_error) SELECT gen_random_uuid(), integration_id, alert_id, 'line', '', '{}', created_at, "
            "0, CASE WHEN is_open THEN created_at END, '' FROM integrations_chatthread"
        )
        cursor.execute(
            "INSERT INTO alerting_timelineentry (alert_id, at, kind, text) "
            "SELECT id, opened_at, 'opened', 'Opened' FROM alerting_alert"
        )
        cursor.execute(
            "ANALYZE integrations_chatthread; ANALYZE integrations_chatmessage; ANALYZE alerting_timelineentry"
        )
    found = plan("changed_chat_threads", {"kinds": ["closed"], "limit": 50})
    claimed = plan("claim_chat_messages", {"now": filled, "lease_ends": filled, "limit": 4, "look_at": 500})
    with connection.cursor() as cursor:
        # How many rows a table has is known beyond the transaction, to the plans of other tests as well.
        cursor.execute("DELETE FROM integrations_chatmessage; DELETE FROM integrations_chatthread")
        cursor.execute("DELETE FROM alerting_timelineentry; ANALYZE alerting_timelineentry")
        cursor.execute("ANALYZE integrations_chatthread; ANALYZE integrations_chatmessage")
    assert "chat_thread_open" in found, found
    assert "timeline_by_alert" in found, found
    assert "Seq Scan" not in found
    assert "chat_message_due" in claimed, claimed
    assert "Seq Scan" not in claimed, claimed


@pytest.mark.parametrize(
    ("sort", "number", "index"), [("worst", 1, "heartbeat_due"), ("name", 0, "integration_by_name")]
)
@pytest.mark.parametrize("is_first", [True, False])
def test_pages_of_the_list_of_heartbeats_are_read_in_the_order_of_an_index(filled, sort, number, index, is_first):
    rows = Heartbeat.objects.filter(integration__organization_id=900)
    last = None if is_first else rows.select_related("integration").get(pk=9_000)
    part = _parts(rows, sort, details=True)[number]
    with CaptureQueriesContext(connection) as captured:
        page = list(part.after(last).select_related("integration")[:51])
    assert len(page) == 51
    found = explained(captured.captured_queries[-1]["sql"])
    assert index in found, found
    assert "Seq Scan" not in found
