"""Many events of one key at once, over a real web process: one alert, and nobody is notified twice."""

import json
import signal
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest

from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from integrations.models.events import EventState, InboundEvent
from tests import factories
from tests.web_trial import Web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


def test_fifty_posts_of_one_key_over_eight_connections_are_one_alert(tmp_path):
    ana, ben = (factories.UserFactory(name=name) for name in ("Ana", "Ben"))
    ben.organization = ana.organization
    ben.save()
    shop = factories.ApiIntegrationFactory(organization=ana.organization, recipient_users=[ana, ben])
    web = Web(tmp_path / "web.log")
    body = json.dumps({"alertKey": "db1", "status": "firing", "title": "db1 is down"}).encode()

    def post(_):
        request = urllib.request.Request(f"http://127.0.0.1:{web.port}/POSTAlert/{shop.token}", body, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    try:
        web.start()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(post, range(50)))
    finally:
        web.end()

    assert sorted(answer["action"] for answer in answers) == ["appended"] * 49 + ["opened"]
    alert = Alert.objects.get()
    assert {answer["alert"] for answer in answers} == {alert.pk}
    assert (alert.event_count, EventState.objects.get().event_count, InboundEvent.objects.count()) == (50, 50, 50)
    assert sorted(Notification.objects.values_list("user__name", flat=True)) == ["Ana", "Ben"]


@pytest.mark.timeout(120)
def test_two_processes_share_keys_and_what_one_answered_before_it_was_killed_is_stored_and_done(tmp_path):
    """All post the same five keys to both processes; one of these is killed after a third of the answers."""
    ana = factories.UserFactory(name="Ana")
    shop = factories.ApiIntegrationFactory(organization=ana.organization, recipient_users=[ana])
    webs = [Web(tmp_path / f"web{number}.log") for number in range(2)]
    answers, refused, enough = [], [], threading.Event()

    def post(number):
        # Two keys that are opened and closed in turn, and three that are opened once.
        key = number % 5
        status = "resolved" if key < 2 and number % 3 == 0 else "firing"
        body = json.dumps({"alertKey": f"db{key}", "status": status, "title": f"db{key} is down"}).encode()
        port = webs[number % 2].port
        request = urllib.request.Request(f"http://127.0.0.1:{port}/POSTAlert/{shop.token}", body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answers.append(json.load(answer))
        except (OSError, HTTPException, ValueError):
            refused.append(number)
        if len(answers) >= 60:
            enough.set()

    try:
        for web in webs:
            web.start()
        with ThreadPoolExecutor(8) as pool:
            posted = [pool.submit(post, number) for number in range(180)]
            assert enough.wait(60)
            webs[0].end(how=signal.SIGKILL)
            for each in posted:
                each.result(60)
    finally:
        for web in webs:
            web.end()

    assert refused, "the process was killed too late"
    rows = {row.pk: row for row in InboundEvent.objects.all()}
    for answer in answers:
        assert rows[answer["event"]].result == answer["results"]
    # Nothing is half done: each event that is stored has its result, and what it counted and opened.
    assert EventState.objects.get().event_count == len(rows)
    done = [result for row in rows.values() for result in row.result]
    assert len(done) == len(rows)
    for alert in Alert.objects.all():
        counted = [one for one in done if one["alert"] == alert.pk and one["action"] in {"opened", "appended"}]
        assert (alert.event_count, alert.timeline.filter(kind="opened").count()) == (len(counted), 1)
        assert Notification.objects.filter(alert=alert, user=ana).exclude(kind="recovery").count() <= 1
    opened = [one["alert"] for one in done if one["action"] == "opened"]
    assert sorted(opened) == sorted(Alert.objects.values_list("pk", flat=True))
