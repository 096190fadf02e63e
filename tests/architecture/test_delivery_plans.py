"""The statements of delivery read what is due and what travels together, in an outbox full of what was sent long ago."""

import json
import re
from datetime import timedelta
from itertools import product
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models.contact_methods import ContactMethod
from escalation.engine.handoffs import notify_newly_on_call
from escalation.engine.plan import Plan, Stage, Target, Track
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.notifications.claim import HOST
from escalation.responses.replies.answer_replies import last_message
from escalation.responses.selectors import sent_to_number
from heartbeat_project.kernel.sql import array, records, statement
from tests.conftest import NOON

pytestmark = pytest.mark.django_db

FILL = """
INSERT INTO accounts_organization (id, name, time_zone, created_at) VALUES (900, 'big', 'UTC', %(now)s);
INSERT INTO accounts_user (id, password, organization_id, email, name, kind, time_zone, is_active, is_owner, created_at)
    SELECT n, '', 900, n || '@example.com', 'p', 'standard', 'UTC', true, false, %(now)s FROM generate_series(1, 50) AS n;
INSERT INTO accounts_contactmethod (id, user_id, kind, label, address, position, enabled, delay_minutes, verified_at, code_digest,
    code_tries)
    SELECT n, n, 'email', 'Email-Official', n || '@example.com', 0, true, 0, %(now)s, '', 0 FROM generate_series(1, 50) AS n;
INSERT INTO escalation_bundlewindow (contact_method_id, kind) SELECT n, 'page' FROM generate_series(1, 50) AS n;
INSERT INTO alerting_alert (id, organization_id, status, priority, subject, short_text, long_text, facts, source, source_name,
    source_id, integration_id, integration_type, expected_at, opened_at, closed_at, close_reason)
    SELECT n, 900, CASE WHEN n > 19900 THEN 'open' ELSE 'closed' END, 'high', 's', 's', 'l', '[]', 'Heartbeat', 'job', n::text,
           n, 'heartbeat', %(now)s, %(now)s, CASE WHEN n > 19900 THEN NULL ELSE %(now)s::timestamptz END, ''
    FROM generate_series(1, 20000) AS n;
INSERT INTO escalation_escalationrun (id, alert_id, name, version, plan, position, acknowledge_stops, recovery_notice, step,
    parked, error)
    SELECT n, n, 'p', 1, '{}', '{}', false, true, 1, false, '' FROM generate_series(1, 20000) AS n;
INSERT INTO escalation_notification (id, organization_id, alert_id, run_id, kind, user_id, contact_method_id, channel, label,
    address, step, retry, subject, text, status, message_id, attempts, created_at, next_attempt_at, provider_id, last_error)
    SELECT gen_random_uuid(), 900, n, n, 'page', n %% 50 + 1, n %% 50 + 1, 'email', 'Email-Official', 'a@example.com', 1, 0, '',
           '', CASE WHEN n > 19900 THEN 'pending' ELSE 'accepted' END,
           CASE WHEN n > 19900 THEN NULL ELSE gen_random_uuid() END, 0, %(now)s,
           CASE WHEN n > 19900 THEN %(now)s::timestamptz END, '', ''
    FROM generate_series(1, 20000) AS n;
-- Retries to come: with none of them, to read all that waits is as good as any index.
INSERT INTO escalation_notification (id, organization_id, kind, user_id, contact_method_id, channel, label, address, step, retry, subject,
    text, status, attempts, created_at, next_attempt_at, provider_id, last_error)
    SELECT gen_random_uuid(), 900, 'page', n %% 50 + 1, n %% 50 + 1, 'email', 'Email-Official', 'a@example.com', 1, 0, '', '', 'pending',
           1, %(now)s, %(now)s::timestamptz + n * interval '1 second', '', ''
    FROM generate_series(1, 10000) AS n;
ANALYZE;
"""


@pytest.fixture(scope="module")
def filled_outbox(fill_once):
    with fill_once(FILL, now=NOON):
        yield NOON


@pytest.fixture
def outbox(filled_outbox, db):
    with connection.cursor() as cursor:
        # Which index could serve is what is asked: on tables of this size the planner may read all of them as well.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_hashjoin = off")
        cursor.execute("SET LOCAL enable_mergejoin = off")
    return filled_outbox


# Thirty thousand further pages that are due, as many first ones that are not, and fifty that are.
BACKLOG = """
INSERT INTO escalation_notification (id, organization_id, kind, user_id, contact_method_id, channel, label, address, step, retry, urgency,
    subject, text, status, attempts, created_at, next_attempt_at, provider_id, last_error)
    SELECT gen_random_uuid(), 900, %(kind)s, n %% 50 + 1, %(method)s, 'email', 'Email-Official', 'a@example.com', 1, 0,
           CASE WHEN n <= 30050 THEN 0 ELSE 1 END, '', '', 'pending', 0, %(now)s,
           %(now)s::timestamptz + CASE WHEN n <= 30000 THEN interval '1 hour' ELSE - n * interval '1 second' END, '', ''
    FROM generate_series(1, 60000) AS n;
ANALYZE escalation_notification;
"""


def plan(app, name, parameters, *, how="COSTS OFF"):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({how}) {statement(app, name)}", parameters)
        return "\n".join(line for (line,) in cursor.fetchall())


def claim_values(now, *, urgency=1):
    moments = dict.fromkeys(("due_by", "now", "lease_ends", "look_again"), now)
    return {
        "channel": "email",
        "urgency": urgency,
        "limit": 16,
        "look": 1_000,
        "look_alone": 16,
        "is_phone": False,
        "full_organizations": [],
        "full_destinations": [],
        "organizations": [],
        "organization_rooms": [],
        "destinations": [],
        "destination_rooms": [],
        "host": HOST,
        **moments,
    }


def big_scans(found):
    """Return the scans that read a whole table which grows with what was sent, or with the alerts there ever were."""
    return re.findall(r"Seq Scan on (escalation_notification|alerting_alert|escalation_escalationrun).*", found)


def read_by(index, alias, found):
    """Return whether the notifications are read by the index where they have that alias, row by row or by bitmap."""
    bitmap = rf"Bitmap Heap Scan on escalation_notification {alias}\n(.*(Cond|Filter): .*\n)* *->  Bitmap Index Scan on {index}"
    return re.search(rf"using {index} on escalation_notification {alias}\n|{bitmap}", found) is not None


def test_missing_bundle_windows_are_found_by_what_is_due(outbox):
    found = plan("escalation", "make_bundle_windows", claim_values(outbox))
    assert "notification_due_by_priority" in found, found
    assert not big_scans(found)


def test_bundle_windows_are_claimed_by_what_is_due_and_what_is_in_them(outbox):
    found = plan("escalation", "claim_bundles", claim_values(outbox))
    assert "notification_for_bundle_window" in found, found
    assert not big_scans(found), found


def test_message_ids_are_claimed_by_what_is_due(outbox):
    found = plan("escalation", "claim_messages", claim_values(outbox))
    assert "notification_due_by_priority" in found, found
    assert "notification_by_message" in found, found
    assert not big_scans(found), found


def fill_backlog(now, *, kind, method):
    with connection.cursor() as cursor:
        for sentence in BACKLOG.strip().split(";\n"):
            values = {"now": now, "kind": kind, "method": method}
            cursor.execute(sentence, values if "%(now)s" in sentence else None)


def test_what_is_urgent_is_found_however_much_waits_behind_and_before_it(outbox):
    fill_backlog(outbox, kind="last_resort", method=None)
    for urgency, name in product((0, 1), ("claim_messages", "due_levels")):
        found = plan("escalation", name, claim_values(outbox, urgency=urgency), how="ANALYZE, COSTS OFF, TIMING OFF")
        assert "notification_due_by_priority" in found, found
        read = re.findall(r"(?:Scan.*actual rows=|Rows Removed by .*: )(\d+)", found)
        assert max(map(int, read)) <= 1_000, found


def test_the_bundle_windows_of_what_is_urgent_are_found_however_much_waits(outbox):
    fill_backlog(outbox, kind="page", method=1)
    for urgency, name in product((0, 1), ("make_bundle_windows", "claim_bundles")):
        found = plan("escalation", name, claim_values(outbox, urgency=urgency))
        which = r"notification_due_by_priority.*\n *Index Cond: .*channel.* AND .*urgency.* AND .*next_attempt_at"
        assert re.search(which, found), found


# Messages that are being sent just now, many notifications in each.
UNDER_WAY = """
INSERT INTO escalation_notification (id, organization_id, kind, user_id, contact_method_id, channel, label, address, step, retry, subject,
    text, status, message_id, attempts, created_at, next_attempt_at, provider_id, last_error)
    SELECT gen_random_uuid(), 900, 'page', n %% 50 + 1, n %% 50 + 1, 'email', 'Email-Official', 'a@example.com', 1, 0, '', '', 'sending',
           md5((n %% 16)::text)::uuid, 1, %(now)s, %(now)s::timestamptz + interval '59.5 seconds', '', ''
    FROM generate_series(1, 5000) AS n;
"""


def share_values(now):
    slow = now + timedelta(seconds=59)
    return {"channel": "email", "now": now, "slow_leases": slow, "shared": 96, "to_one": 2, "host": HOST}


def test_what_is_slow_is_found_among_what_is_under_way_now(outbox):
    fill_backlog(outbox, kind="page", method=1)
    found = plan("escalation", "shares", share_values(outbox))
    assert found.count("notification_sending") == 2, found
    assert not big_scans(found), found


def test_while_nothing_is_slow_what_is_under_way_is_not_read(outbox):
    with connection.cursor() as cursor:
        cursor.execute(UNDER_WAY, {"now": outbox})
        cursor.execute("ANALYZE escalation_notification")
    found = plan("escalation", "shares", share_values(outbox), how="ANALYZE, COSTS OFF, TIMING OFF")
    assert found.count("notification_sending") == 2, found
    read = re.findall(r"Scan.*notification.*actual rows=(\d+)", found)
    assert not any(map(int, read)), found


@pytest.mark.parametrize("room", [[], [1]], ids=["none has room", "some have room"])
@pytest.mark.parametrize(("name", "backlog"), [("claim_messages", "last_resort"), ("claim_bundles", "page")])
def test_others_are_found_behind_the_backlog_of_an_organization_that_has_its_share(outbox, name, backlog, room):
    fill_backlog(outbox, kind=backlog, method=1 if backlog == "page" else None)
    full = claim_values(outbox) | {"full_organizations": [900], "full_destinations": ["x.example.com"]}
    shared = {"organizations": [901] * len(room), "organization_rooms": room}
    shared |= {"destinations": ["y.example.com"] * len(room), "destination_rooms": room, "look_alone": 1_000}
    found = plan("escalation", name, full | shared)
    # Both have the rows of a priority in order of their time; those in bundle windows stand in the second one, too.
    assert re.search("notification_(due_by_priority|for_bundle_window)", found), found
    assert not big_scans(found), found


def test_what_is_held_too_long_and_what_probes_are_found_by_what_is_due(outbox):
    fill_backlog(outbox, kind="page", method=1)
    values = {"channels": ["email"], "urgencies": [1], "kinds": ["page"], "held": "x", "limit": 500, "now": outbox}
    found = plan("escalation", "hold_too_long", values | {"too_long": timedelta(minutes=1)})
    assert "notification_due_by_priority" in found, found
    assert not big_scans(found), found
    values = {"now": outbox, "forget": outbox - timedelta(minutes=20), "phones": ["sms", "voice"], "limit": 50}
    values["pause"] = timedelta(seconds=30)
    found = plan("escalation", "send_probes", values)
    assert "notification_due_by_priority" in found, found
    assert not big_scans(found), found


def test_outcomes_are_written_by_message(outbox):
    values = {
        "now": outbox,
        "message_ids": [uuid4()],
        "leases": [outbox],
        "statuses": ["accepted"],
        "next": [None],
        "provider_ids": ["x"],
        "errors": [""],
        "tried": [True],
        "uncertain": [False],
        "timeline_kinds": ["notifications"],
        "lines": ["x"],
        "limited": [False],
        "failing": [False],
        "too_long": timedelta(minutes=1),
        "held": "x",
    }
    found = plan("escalation", "record_outcomes", values)
    assert "notification_by_message" in found, found
    assert not big_scans(found), found


def test_whether_an_alert_was_notified_is_read_by_its_index(outbox):
    pages = {"number": 0, "user_id": 1, "contact_method_id": 1, "channel": "email", "label": "x", "address": "x"}
    pages |= {"step": 2, "retry": 0, "repeat": 0, "due_at": outbox}
    values = {"runs": [3], "alerts": [3], "organizations": [900], "numbers": [0], "pages": records([pages])}
    found = plan("escalation", "write_pages", values | {"first": 0, "further": 1, "now": outbox})
    assert read_by("notification_once", "notified", found), found
    assert not big_scans(found), found


def test_recoveries_are_written_by_alert(outbox):
    methods = [{"user_id": 1, "id": 1, "channel": "email", "label": "x", "address": "x", "loudness": 1, "position": 0}]
    values = {"ids": [3, 4], "methods": records(methods), "urgency": 2, "now": outbox}
    found = plan("escalation", "write_recoveries", values)
    assert read_by("notification_once", "tried", found), found
    assert not big_scans(found), found


def test_recoveries_are_settled_by_primary_key_and_alert(outbox):
    found = plan("escalation", "settle_recoveries", {"ids": [uuid4(), uuid4()], "now": outbox})
    assert "escalation_notification_pkey" in found, found
    assert read_by("notification_once", "recovery", found), found
    assert not big_scans(found), found


def test_next_methods_are_used_by_primary_key(outbox):
    values = {"ids": [uuid4(), uuid4()], "urgencies": [0, 1], "counts": [True, False], "now": outbox}
    found = plan("escalation", "expedite_methods", values)
    assert "escalation_notification_pkey" in found, found
    assert not big_scans(found), found


def test_what_failed_is_tried_again_by_its_channel(outbox):
    values = {
        "channels": ["email", "webhook"],
        "addresses": ["", "https://example.com/a"],
        "pauses": [timedelta(minutes=5)] * 2,
        "phones": ["sms", "voice"],
        "limit": 5_000,
        "now": outbox,
    }
    found = plan("escalation", "retry_now", values)
    assert "notification_failing" in found, found
    assert not big_scans(found), found


def test_runs_are_expedited_by_primary_key(outbox):
    found = plan("escalation", "expedite_runs", {"runs": records([{"id": 3, "position": {}, "next_step_at": outbox}])})
    assert "escalation_escalationrun_pkey" in found, found
    assert not big_scans(found), found


def test_alerts_are_assigned_by_primary_key(outbox):
    values = {
        "ids": [3, 4],
        "organization": 900,
        "owner": 1,
        "actor": 1,
        "now": outbox,
        "text": "x",
        "via": "sms",
        "how": "by SMS",
    }
    found = plan("alerting", "assign_alerts", values)
    assert "alerting_alert_pkey" in found, found
    assert not big_scans(found), found


def test_what_goes_with_a_group_is_found_by_it_among_what_was_sent_to_people(outbox):
    found = Notification.objects.filter(group__in=[1, 2]).explain()
    assert "notification_by_group" in found, found


def test_what_groups_share_is_found_by_them_among_the_contact_methods_of_people(outbox):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_contactmethod (id, user_id, kind, label, address, position, enabled, delay_minutes,"
            " code_digest, code_tries)"
            " SELECT 100 + n, n %% 50 + 1, 'email', 'label ' || n, 'a@example.com', 0, true, 0, '', 0"
            " FROM generate_series(1, 5000) AS n",
            [],
        )
        cursor.execute("ANALYZE accounts_contactmethod")
    found = ContactMethod.objects.filter(group__in=[1, 2], enabled=True, verified_at__isnull=False).explain()
    assert "group_contact_label_once" in found, found


def test_what_is_to_be_looked_at_is_found_among_what_is_not(outbox):
    EscalationRun.objects.filter(pk__lte=20).update(review="remind", review_at=outbox)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE escalation_escalationrun")
    found = plan("escalation", "claim_reviews", {"now": outbox, "limit": 100})
    assert "run_review" in found, found
    assert not big_scans(found), found


def test_runs_are_reviewed_and_opened_again_by_primary_key(outbox):
    review = {"id": 3, "acted_at": outbox, "review": "remind", "review_at": outbox, "step": 2}
    place = {"id": 3, "step": 2, "position": {}, "next_step_at": outbox, "reopened_at": None}
    for name, row in (("save_reviews", review), ("reopen_runs", place)):
        found = plan("escalation", name, {"runs": records([row])})
        assert "escalation_escalationrun_pkey" in found, found
        assert not big_scans(found), found


def test_alerts_are_opened_again_by_primary_key(outbox):
    found = plan("alerting", "reopen_alerts", {"lines": records([{"alert_id": 3, "text": "x"}]), "now": outbox})
    assert "alerting_alert_pkey" in found, found
    assert not big_scans(found), found


def test_daily_lists_are_claimed_by_organization(outbox):
    found = plan("integrations", "claim_daily_lists", {"organizations": [900], "days": [outbox.date()]})
    assert "integrations_dailylist_pkey" in found, found


# Twenty thousand open alerts of which person 7 was notified; person 8 is in charge, too.
STORM = """
UPDATE alerting_alert SET status = 'open', closed_at = NULL, integration_id = id;
UPDATE escalation_notification SET user_id = 7;
UPDATE accounts_user SET is_owner = TRUE WHERE id = 7;
UPDATE escalation_escalationrun SET plan = %(plan)s,
    position = '{"cursors": [[1, null, false]], "retries": [], "repeat": 0, "notified": true, "reached": []}';
ANALYZE alerting_alert, escalation_escalationrun, escalation_notification;
"""
PLAN = Plan((Track((Stage("Named", (Target("user", 7),)),)),))


@pytest.fixture
def storm(outbox):
    with connection.cursor() as cursor:
        for sentence in STORM.strip().split(";\n"):
            cursor.execute(sentence, {"plan": json.dumps(PLAN.dump())} if "%(plan)s" in sentence else None)
    return outbox


def test_open_places_are_read_from_the_open_alerts(outbox):
    found = plan("escalation", "open_cursors", {})
    assert "alert_open" in found or "alert_by_status" in found, found
    assert not big_scans(found), found


def test_what_waits_for_leavers_is_looked_up_by_alert(storm):
    waiting = plan("escalation", "waiting_plans", {"now": storm})
    assert not big_scans(waiting), waiting
    people = records([{"plan": 0, "user_id": 7}])
    runs = {"runs": array(range(1, 20_001)), "plans": array([0] * 20_000), "people": people}
    found = plan("escalation", "runs_without_reader", runs)
    assert "notification_once" in found, found
    assert not big_scans(found), found


def test_who_was_never_notified_is_looked_up_by_alert(storm):
    people = records([{"batch": 0, "user_id": 7}, {"batch": 0, "user_id": 8}])
    runs = {"runs": array(range(1, 20_001)), "batches": array([0] * 20_000), "people": people, "limit": 20_000}
    found = plan("escalation", "never_notified", runs)
    assert "notification_once" in found, found
    assert "Seq Scan on accounts_optout" not in found, found
    assert not big_scans(found), found


def test_hand_offs_are_written_by_primary_keys(storm):
    page = {"user_id": 7, "contact_method_id": 7, "channel": "email", "label": "l", "address": "a", "repeat": 0}
    page |= {"due_at": storm, "in_time": True, "message_id": str(uuid4()), "text": "You came on call."}
    parameters = {"runs": array(range(100, 200)), "users": array([7] * 100), "pages": records([page])}
    found = plan("escalation", "write_handoffs", parameters | {"first": 0, "further": 1, "now": storm})
    assert "escalation_escalationrun_pkey" in found, found
    assert "alerting_alert_pkey" in found or "alert_open" in found, found
    assert not big_scans(found), found


def test_what_runs_by_a_policy_is_found_among_live_alerts(outbox):
    with connection.cursor() as cursor:  # as most runs that there ever were did
        cursor.execute("UPDATE escalation_escalationrun SET policy_id = 1, next_step_at = %s", [outbox])
        cursor.execute("ANALYZE escalation_escalationrun")
    parameters = {"organization": 900, "policy": 1, "play": None, "actor": None, "now": outbox, "text": "%s"}
    for name in ("say_rule_changed", "stop_runs"):
        found = plan("escalation", name, parameters)
        assert "alert_by_status" in found, found
        assert "run_by_policy" not in found, found
        assert not big_scans(found), found


def test_what_was_not_sent_is_put_away_by_alert(outbox):
    found = plan("escalation", "supersede_unsent", {"alerts": array(range(100, 200))})
    assert "notification_once" in found, found
    assert not big_scans(found), found


def test_a_look_for_hand_offs_at_twenty_thousand_open_alerts_costs_a_few_statements(
    storm, django_assert_max_num_queries
):
    with django_assert_max_num_queries(13):  # one asks whether the installation is held
        assert notify_newly_on_call(now=storm) == 0


def test_what_is_due_longest_is_found_among_what_is_not_due_and_what_was_sent(outbox):
    found = plan("escalation", "oldest_due", {"now": outbox})
    assert "notification_due_by_priority" in found, found
    assert "Seq Scan" not in found, found


def test_progress_is_written_by_its_primary_key(outbox):
    parameters = {"works": ["judged", "sent"], "times": [outbox] * 2, "counts": [1, 1]}
    assert "Conflict Arbiter Indexes: escalation_progress_pkey" in plan("escalation", "write_progress", parameters)


def test_the_last_messages_to_a_number_are_found_without_reading_the_others(outbox):
    method = ContactMethod.objects.get(pk=7)
    ContactMethod.objects.filter(pk=7).update(kind="sms", label="SMS", address="+4915112345678")
    ours = Notification.objects.filter(contact_method=method)
    ours.update(channel="sms", address="+4915112345678", status="accepted", accepted_at=outbox, next_attempt_at=None)
    with CaptureQueriesContext(connection) as queries:
        assert last_message(sent_to_number("+4915112345678", now=outbox), now=outbox) is not None
    asked = [query["sql"] for query in queries if "COALESCE" in query["sql"] and "ORDER BY" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_contactmethod; ANALYZE escalation_notification")
        for sql in asked:
            cursor.execute(f"EXPLAIN (COSTS OFF) {sql}")
            found = "\n".join(line for (line,) in cursor.fetchall())
            assert "notification_by_number" in found or "escalation_notification_pkey" in found, found
            assert not big_scans(found), found
            assert "Seq Scan on accounts_contactmethod" not in found, found
    assert asked
