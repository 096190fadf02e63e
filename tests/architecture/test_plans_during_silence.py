"""What is asked each second, or by probes, is served by an index however many heartbeats are missed.

A missed heartbeat keeps its deadline, which has passed. So a planner that looks for passed deadlines without the order of
the index expects to meet one soon, and reads the whole table if all of them are missed.
"""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from escalation.models.progress import Progress
from escalation.models.runs import EscalationRun
from heartbeat_project import condition
from heartbeat_project.kernel.sql import statement
from integrations.models.heartbeats import Heartbeat
from integrations.ping_lane.batch import NO_PROCESS, PULSE_PARAMETERS
from integrations.upkeep.engine_work import is_work_due
from tests.architecture.test_sql_plans import FILL
from tests.conftest import NOON

pytestmark = pytest.mark.django_db

# Every heartbeat has an alert, and every alert a run; those of missed heartbeats are open, and wait for their next step.
SILENCE = """
UPDATE integrations_heartbeat SET state = 'missed', deadline_at = %(now)s::timestamptz - interval '1 hour'
    WHERE integration_id %% 100 < %(percent)s;
UPDATE alerting_alert SET status = 'closed', closed_at = %(now)s;
UPDATE alerting_alert SET status = 'open', closed_at = NULL WHERE integration_id %% 100 < %(percent)s;
INSERT INTO escalation_escalationrun (alert_id, name, version, plan, position, acknowledge_stops, recovery_notice, step, parked,
    error, next_step_at)
    SELECT id, 'p', 1, '{}', '{}', false, true, 1, false, '',
        CASE WHEN status = 'open' THEN %(now)s::timestamptz + interval '5 minutes' END
    FROM alerting_alert;
ANALYZE integrations_heartbeat, alerting_alert, escalation_escalationrun;
"""
# Tables that grow with what exists, of which no probe may read all.
LARGE = "integrations_heartbeat|escalation_escalationrun"


@pytest.fixture(scope="module")
def filled_tables(fill_once):
    with fill_once(FILL, now=NOON):
        yield NOON


@pytest.fixture(params=[pytest.param(0, marks=pytest.mark.long), pytest.param(5, marks=pytest.mark.long), 20])
def silent(request, filled_tables, db):
    """Let so many percent of 20,000 heartbeats be missed; return the present time."""
    with connection.cursor() as cursor:
        for sentence in SILENCE.strip().split(";\n"):
            parameters = {"now": filled_tables, "percent": request.param}
            cursor.execute(sentence, parameters if "%(" in sentence else None)
    assert Heartbeat.objects.filter(state="missed").count() == 200 * request.param
    return filled_tables


def scans(query: str, parameters=None, *, of: str = LARGE) -> list[str]:
    """Return the scans of large tables in the plan of a query, which read them from the first row to the last."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS OFF) {query}", parameters)
        lines = [line.strip() for (line,) in cursor.fetchall()]
    return [line for line in lines if re.search(rf"Seq Scan on ({of})( |$)", line)]


def test_a_pulse_asks_an_index_for_what_is_due(silent):
    pulse = {"now": silent, **PULSE_PARAMETERS, **NO_PROCESS}

    assert scans(statement("integrations", "record_pulse"), pulse) == []


def test_the_engine_asks_indexes_whether_work_is_due(silent):
    """Each second; none of what is missed or taken is due, so the statement asks all of its questions."""
    parameters = {
        "now": silent,
        "tests_since": silent,
        "lease_end": silent,
        "chat_kinds": ["closed"],
        "tomorrow": silent,
    }

    assert not is_work_due(now=silent)
    # Alerts that were taken, whose escalations are parked.
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE escalation_escalationrun SET parked = TRUE, acknowledge_stops = TRUE WHERE alert_id % 7 = 0"
        )
        cursor.execute("UPDATE alerting_alert SET acknowledged_at = opened_at WHERE id % 7 = 0")
        cursor.execute("ANALYZE alerting_alert, escalation_escalationrun")
    assert not is_work_due(now=silent)
    assert scans(statement("integrations", "is_engine_work_due"), parameters, of=f"{LARGE}|alerting_alert") == []


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_a_probe_asks_indexes(silent, client, monkeypatch, path):
    monkeypatch.setattr("heartbeat_project.kernel.clock.now", lambda: silent)
    Progress.objects.create(work=Progress.Work.ENGINE, at=silent)  # else the engine's lag would be of no interest
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200

    asked = [query["sql"] for query in queries if query["sql"].startswith(("SELECT", "WITH"))]
    assert any("escalation_escalationrun" in query for query in asked)
    assert {query: found for query in asked if (found := scans(query))} == {}


def test_the_lag_is_that_of_the_oldest_due_work(silent):
    def minutes_behind(minutes: int) -> bool:
        return condition.engine_lag(now=silent) == timedelta(minutes=minutes)

    assert minutes_behind(0), "a missed heartbeat waits for nothing"
    due = Heartbeat.objects.filter(state="healthy").first()
    Heartbeat.objects.filter(pk=due.pk).update(deadline_at=silent - timedelta(minutes=2))
    assert minutes_behind(2)
    run = EscalationRun.objects.first()
    type(run.alert).objects.filter(pk=run.alert_id).update(status="open", closed_at=None)
    EscalationRun.objects.filter(pk=run.pk).update(next_step_at=silent - timedelta(minutes=3))
    assert minutes_behind(3)
    # It waits for a person: whoever acknowledged the alert stopped it.
    EscalationRun.objects.filter(pk=run.pk).update(parked=True)
    assert minutes_behind(2)
