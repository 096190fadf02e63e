"""Probes by address, strange hosts, whether this process can store pings, and what is degraded."""

import logging
import re
import shutil
import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from accounts.services.restores import hold
from escalation.engine.progress import Work
from escalation.models.notifications import Notification
from escalation.models.progress import Progress
from heartbeat_project import condition, health
from heartbeat_project.kernel import clock
from integrations.heartbeats import history
from integrations.models.outages import DatabaseClock
from integrations.ping_lane.batch import Arrival, record_pings
from integrations.ping_lane.health import PROCESS_HEALTH
from tests import factories
from tests.world import minutes, record_pulse, seconds

pytestmark = pytest.mark.django_db
STRANGE = ("10.1.2.3", "heartbeat.example", "a b", "x" * 500, "[::1", "")


@pytest.fixture
def process_health():
    yield PROCESS_HEALTH
    PROCESS_HEALTH.began_at = PROCESS_HEALTH.pulse_at = PROCESS_HEALTH.refused_at = None


@pytest.mark.parametrize("host", STRANGE)
def test_a_probe_is_answered_whatever_it_calls_us(host):
    record_pulse(now=clock.now())
    for path in ("/healthz", "/readyz", "/metrics"):
        response = Client().get(path, headers={"host": host})
        assert response.status_code == 200, response.content
        assert (host or "10.1.2.3") not in response.content.decode()


@pytest.mark.parametrize("host", STRANGE[:-1])
@pytest.mark.parametrize("path", ["/", "/api/v1/alerts/", "/healthz/", "/login/"])
def test_everything_else_stays_refused(path, host):
    assert Client().get(path, headers={"host": host}).status_code in ({400} if path != "/healthz/" else {400, 404})


def test_a_strange_host_leaves_one_line_and_no_traceback(caplog):
    with caplog.at_level(logging.WARNING):
        Client().get("/", headers={"host": "nonsense.example"})
    (record,) = [record for record in caplog.records if record.name == "django.security.DisallowedHost"]
    assert "nonsense.example" in record.getMessage()
    (handler,) = [one for one in logging.getLogger().handlers if one.name == "stdout"]
    assert handler.filter(record)
    assert (record.exc_info, record.levelname) == (None, "WARNING")


def test_a_process_that_cannot_store_pings_is_not_ready_though_others_pulse(process_health):
    now = clock.now()
    record_pulse(now=now)
    assert Client().get("/readyz").status_code == 200
    process_health.refused(now, why="No space left on device")
    response = Client().get("/readyz")
    assert response.status_code == 503
    listening = response.json()["checks"]["listening"]
    assert listening["ok"] is False
    assert "No space left on device" in listening["detail"]
    process_health.stored()
    assert Client().get("/readyz").status_code == 200


def done(work: Work, *, ago: timedelta = timedelta(0), count: int = 0):
    Progress.objects.update_or_create(work=work, defaults={"at": clock.now() - ago, "count": count})


@pytest.fixture
def all_is_well():
    record_pulse(now=clock.now())
    for work in (Work.JUDGED, Work.ENGINE, Work.DELIVERY, Work.SENT):
        done(work)


def due(*, ago: timedelta):
    """Write a message that has been due for so long."""
    person = factories.UserFactory()
    (method,) = person.contact_methods.all()
    Notification.objects.create(
        organization=person.organization,
        user=person,
        contact_method=method,
        kind="notice",
        channel="email",
        label="Email-Official",
        address=person.email,
        created_at=clock.now() - ago,
        next_attempt_at=clock.now() - ago,
    )


def ready():
    response = Client().get("/readyz")
    return response.status_code, response.json()


def test_when_all_is_well_it_is_ok(all_is_well):
    status, answer = ready()
    assert (status, answer["status"], answer["parts"], answer["standstill"]) == (200, "ok", {}, "")


def test_just_after_a_restart_work_of_before_is_no_trouble_yet(process_health):
    for work in (Work.JUDGED, Work.ENGINE, Work.DELIVERY):
        done(work, ago=minutes(10))
    process_health.begins(clock.now())
    assert ready()[1]["status"] == "ok"
    process_health.began_at -= seconds(20)
    assert {"judging", "listening", "engine", "delivery"} <= set(ready()[1]["parts"])


@pytest.mark.parametrize(
    ("work", "ago", "part", "sentence"),
    [
        (Work.JUDGED, minutes(3), "judging", "No deadline has been judged for 3 minutes"),
        (Work.ENGINE, seconds(40), "engine", "No engine worker has worked for 40 seconds"),
        (Work.DELIVERY, minutes(2), "delivery", "No delivery worker has taken work for 2 minutes"),
        (Work.GIVEN_UP, minutes(5), "given_up", "A page was given up 5 minutes ago"),
    ],
)
def test_work_that_stands_still_is_degraded_and_pings_go_on(all_is_well, work, ago, part, sentence):
    done(work, ago=ago, count=7)
    status, answer = ready()
    assert (status, answer["status"], list(answer["parts"])) == (200, "degraded", [part])
    assert answer["parts"][part].startswith(sentence)
    numbers = Client().get("/metrics").content.decode()
    assert re.findall(r'heartbeat_degraded{part="(\w+)"} 1.0', numbers) == [part]
    assert ("heartbeat_pages_given_up_total 7.0" in numbers) == (work == Work.GIVEN_UP)


def test_a_proxy_that_is_not_named_is_degraded(all_is_well, settings):
    settings.HAS_UNKNOWN_PROXY = True
    status, answer = ready()
    assert (status, answer["status"], list(answer["parts"])) == (200, "degraded", ["proxy"])
    assert "HEARTBEAT_TRUSTED_PROXIES" in answer["parts"]["proxy"]


def test_a_history_whose_default_partition_fills_is_degraded(all_is_well, monkeypatch):
    monkeypatch.setattr(history, "OVERFLOW_FILLS", 2)
    backup = factories.HeartbeatFactory(now=clock.now())
    for days in (300, 301):
        arrival = Arrival(token=backup.token, received_at=clock.now() + timedelta(days=days))
        assert ready()[1]["status"] == "ok"
        assert record_pings([arrival])[0] is not None
    status, answer = ready()
    assert (status, answer["status"], list(answer["parts"])) == (200, "degraded", ["history"])
    assert "in no day's partition of the history" in answer["parts"]["history"]
    assert 'heartbeat_degraded{part="history"} 1.0' in Client().get("/metrics").content.decode()


def test_a_machine_whose_clock_is_wrong_is_degraded(all_is_well):
    now = clock.now()
    DatabaseClock.objects.update_or_create(
        pk=1,
        defaults={"latest_at": now, "wrong_machine": "db1 (engine)", "wrong_by": minutes(3), "wrong_at": now},
    )
    status, answer = ready()
    assert (status, answer["status"], list(answer["parts"])) == (200, "degraded", ["clock"])
    assert answer["parts"]["clock"].startswith("The clock of db1 (engine) is 3 minutes ahead of the database's. Set it")


def test_an_installation_that_is_held_since_a_restore_is_degraded(all_is_well):
    hold(taken_at=clock.now() - minutes(20), now=clock.now() - minutes(5))
    status, answer = ready()
    assert (status, answer["status"], list(answer["parts"])) == (200, "degraded", ["held"])
    assert answer["parts"]["held"].startswith("Held for 5 min since the restore")
    assert "script/server --release" in answer["parts"]["held"]


def test_a_message_that_waits_is_degraded(all_is_well):
    due(ago=minutes(3))
    status, answer = ready()
    assert (status, answer["status"], list(answer["parts"])) == (200, "degraded", ["messages"])
    assert "A message has been due for 3 minutes" in answer["parts"]["messages"]
    assert re.search(r"heartbeat_oldest_due_seconds 18\d\.", Client().get("/metrics").content.decode())


def test_nobody_who_listens_is_degraded_where_this_process_has_no_lane(all_is_well):
    record_pulse(now=clock.now() - minutes(10))
    status, answer = ready()
    assert (status, list(answer["parts"])) == (200, ["listening"])


def test_a_disk_that_fills_up_is_degraded(all_is_well, settings, tmp_path, monkeypatch):
    settings.DATA_DIR = str(tmp_path)
    gibibyte = 1024**3
    sizes = {
        "full": (50 * gibibyte, gibibyte - 1),
        "small": (2 * gibibyte, gibibyte // 5),
        "large": (500 * gibibyte, gibibyte),
    }
    found = {}
    for name, (total, free) in sizes.items():
        monkeypatch.setattr(shutil, "disk_usage", lambda _, t=total, f=free: shutil._ntuple_diskusage(t, t - f, f))
        found[name] = ready()[1]["parts"]
    assert found["full"] == {
        "disk": f"Only 1023 MiB are free on the disk of {tmp_path}. Make room: a full disk stops pings."
    }
    assert found["small"] == found["large"] == {}
    assert "heartbeat_disk_free_bytes 1.073741824e+09" in Client().get("/metrics").content.decode()


def test_a_schema_that_is_not_migrated_is_not_ready(all_is_well, monkeypatch):
    monkeypatch.setattr(health, "_migrated", set())
    assert ready()[0] == 200
    monkeypatch.setattr(health, "_migrated", set())
    [newest] = MigrationLoader(connection).graph.leaf_nodes("escalation")
    MigrationRecorder(connection).record_unapplied(*newest)
    status, answer = ready()
    assert (status, answer["status"], answer["checks"]["migrations"]) == (503, "not_ready", {"ok": False, "missing": 1})


def unanswered(monkeypatch, error):
    def refuse(_):
        raise error

    monkeypatch.setattr(health, "in_time", refuse)


@pytest.mark.parametrize("error", [OperationalError("connection refused\nis it running?"), TimeoutError("no answer")])
def test_without_the_database_it_is_not_ready_and_alive(monkeypatch, error):
    unanswered(monkeypatch, error)
    status, answer = ready()
    assert (status, answer["status"]) == (503, "not_ready")
    assert answer["checks"]["database"]["detail"] in {"connection refused", "no answer"}
    assert Client().get("/healthz").status_code == 200
    assert Client().get("/metrics").status_code == 503


def test_pages_without_a_connection_are_degraded_while_the_lane_commits(monkeypatch, process_health):
    unanswered(monkeypatch, OperationalError("couldn't get a connection after 3.00 sec"))
    process_health.pulsed(clock.now())
    status, answer = ready()
    assert (status, answer["status"]) == (200, "degraded")
    assert "pings are stored" in answer["parts"]["database"]
    process_health.pulsed(clock.now() - seconds(3))
    assert ready()[0] == 503


@pytest.mark.django_db(transaction=True)
def test_a_frozen_database_keeps_a_probe_no_longer_than_its_time_and_few_threads(monkeypatch, close_connections):
    frozen = threading.Event()
    asks = condition.Bounded("question", seconds=0.1, most=4)
    monkeypatch.setattr(condition, "_ASKS", asks)
    monkeypatch.setattr(health, "_report", lambda *, now: frozen.wait(30))
    before = threading.active_count()
    answers = [ready() for _ in range(10)]
    assert {status for status, _ in answers} == {503}
    assert {answer["checks"]["database"]["detail"] for _, answer in answers} == {"the database does not answer"}
    assert threading.active_count() <= before + 4
    frozen.set()


@pytest.mark.django_db(transaction=True)
def test_a_probe_gives_its_connection_back(close_connections):
    record_pulse(now=clock.now())
    for _ in range(30):
        assert ready()[0] == 200
