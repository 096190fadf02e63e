"""Debian's Alertmanager, as it is, posts to an API integration: alerts open, append and close with its groups."""

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from alerting.models.alerts import Alert, AlertMember
from alerting.services.alerts import close_alerts
from heartbeat_project.kernel import clock
from integrations.models.events import EventState, InboundEvent
from tests import factories
from tests.processes import free_port, until
from tests.web_trial import Web

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.serial,
    pytest.mark.long,
    pytest.mark.timeout(180),
]

PACKAGE = "prometheus-alertmanager"
CONFIGURATION = """
route:
  receiver: heartbeat
  group_by: [{group_by}]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: {repeat}
receivers:
  - name: heartbeat
    webhook_configs:
      - url: http://127.0.0.1:{port}/POSTAlert/{token}
        send_resolved: true
"""


@dataclass
class Alertmanager:
    """A running Alertmanager, to which a monitoring system reports."""

    port: int = field(default_factory=free_port)
    started: dict[str, datetime] = field(default_factory=dict)

    def fire(self, instance: str) -> None:
        self.started[instance] = clock.now()
        self._report(instance)

    def resolve(self, instance: str) -> None:
        self._report(instance, endsAt=clock.now().isoformat())

    def _report(self, instance: str, **times: str) -> None:
        alert = {
            "labels": {"alertname": "DiskFull", "instance": instance, "severity": "critical"},
            "annotations": {"description": f"{instance} has no space left"},
            "startsAt": self.started[instance].isoformat(),
            "generatorURL": "http://prometheus.example/graph",
            **times,
        }
        self.call("/api/v2/alerts", [alert])

    def call(self, path: str, body: object = None) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def is_ready(self) -> bool:
        try:
            return bool(self.call("/-/ready"))
        except OSError:
            return False


@pytest.fixture
def shop():
    ana = factories.UserFactory(name="Ana")
    return factories.ApiIntegrationFactory(organization=ana.organization, name="Shop", recipient_users=[ana])


@pytest.fixture
def web(tmp_path) -> Iterator[Web]:
    web = Web(tmp_path / "web.log")
    try:
        web.start()
        yield web
    finally:
        web.end()


@contextmanager
def running(folder: Path, web: Web, token: str, *, group_by: str, repeat: str) -> Iterator[Alertmanager]:
    program = shutil.which(PACKAGE)
    assert program, f"This test needs Debian's package {PACKAGE}: apt-get install {PACKAGE}."
    manager = Alertmanager()
    settings = folder / "alertmanager.yml"
    settings.write_text(CONFIGURATION.format(group_by=group_by, repeat=repeat, port=web.port, token=token))
    command = [
        program,
        f"--config.file={settings}",
        f"--storage.path={folder / 'storage'}",
        f"--web.listen-address=127.0.0.1:{manager.port}",
        "--cluster.listen-address=",
    ]
    log = folder / "alertmanager.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        until(manager.is_ready, seconds=30, what=f"Alertmanager is ready\n{log.read_text()}")
        yield manager
    finally:
        process.terminate()
        process.wait(30)


def states() -> list[str]:
    return list(Alert.objects.order_by("id").values_list("status", flat=True))


def open_members() -> list[str]:
    """Return which instances of the newest alert are open."""
    members = AlertMember.objects.filter(alert=Alert.objects.order_by("id").last(), is_open=True)
    return sorted(member.subject for member in members)


def wait_for(expected: list[str]) -> None:
    until(lambda: states() == expected, seconds=20, what=f"{expected}, not {states()}")


def last_result() -> dict[str, object]:
    return InboundEvent.objects.latest("id").result[0]


def test_a_group_is_one_alert_that_closes_with_its_last_member(tmp_path, web, shop):
    with running(tmp_path, web, shop.token, group_by="alertname", repeat="3s") as manager:
        manager.fire("db1")
        wait_for(["open"])
        alert = Alert.objects.get()
        assert (alert.source, alert.priority, alert.url) == (
            "Alertmanager",
            "critical",
            "http://prometheus.example/graph",
        )
        assert "DiskFull" in alert.subject
        assert "db1 has no space left" in alert.long_text
        manager.fire("db2")
        until(lambda: len(open_members()) == 2, seconds=20, what="two members")
        so_far = EventState.objects.get().event_count
        until(lambda: EventState.objects.get().event_count > so_far + 1, seconds=20, what="it repeats")
        assert states() == ["open"]
        assert Alert.objects.get().event_count == EventState.objects.get().event_count

        manager.resolve("db1")
        until(lambda: len(open_members()) == 1, seconds=20, what="a member is resolved while the other one fires")
        assert states() == ["open"]
        manager.resolve("db2")
        wait_for(["closed"])
        assert Alert.objects.get().close_reason == "closed by Shop"
        assert open_members() == []

        # The key is free: the same group again is a new alert. After a close by hand, its repetition is one, too.
        manager.fire("db1")
        wait_for(["closed", "open"])
        close_alerts([Alert.objects.latest("id").pk], reason="by hand", now=clock.now())
        wait_for(["closed", "closed", "open"])
        manager.resolve("db1")
        wait_for(["closed", "closed", "closed"])


def test_a_group_for_each_alert_is_an_alert_for_each(tmp_path, web, shop):
    with running(tmp_path, web, shop.token, group_by="'...'", repeat="1h") as manager:
        manager.fire("db1")
        manager.fire("db2")
        wait_for(["open", "open"])
        manager.resolve("db1")
        until(lambda: sorted(states()) == ["closed", "open"], seconds=20, what="db1 alone is closed")
        assert "db2 has no space left" in Alert.objects.get(status="open").long_text
        manager.resolve("db2")
        wait_for(["closed", "closed"])


def test_what_is_resolved_after_a_close_by_hand_opens_nothing(tmp_path, web, shop):
    with running(tmp_path, web, shop.token, group_by="alertname", repeat="1h") as manager:
        manager.fire("db1")
        wait_for(["open"])
        close_alerts([Alert.objects.get().pk], reason="by hand", now=clock.now())
        manager.resolve("db1")
        until(lambda: InboundEvent.objects.count() == 2, seconds=20, what="it is resolved")
        assert (last_result()["action"], last_result()["reason"]) == ("ignored", "nothing_to_close")
        assert states() == ["closed"]


def test_what_came_while_the_web_process_was_away_is_delivered(tmp_path, web, shop):
    """Alertmanager tries again for as long as the alert fires, and after it was resolved."""
    with running(tmp_path, web, shop.token, group_by="alertname", repeat="1h") as manager:
        web.end()
        manager.fire("db1")
        web.start()
        wait_for(["open"])
        manager.resolve("db1")
        wait_for(["closed"])
