"""A statement of a page or an API call that takes too long is stopped, in a real web process, and pings go on."""

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.test import Client

from accounts.services.api_keys import create_api_key
from heartbeat_project.kernel import clock
from tests import factories
from tests.web_trial import Web, database_url

pytestmark = pytest.mark.django_db(transaction=True)


def ask(url, *, method="GET", **headers):
    """Return status, headers, body and seconds."""
    began = time.monotonic()
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode(), time.monotonic() - began
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode(), time.monotonic() - began


def test_whoever_waits_for_a_lock_gets_a_503_with_a_reason_and_pings_go_on(tmp_path):
    job = factories.HeartbeatFactory()
    owner = factories.UserFactory(organization=job.organization, roles=["App Admin"])
    _, key = create_api_key(owner, name="test", now=clock.now())
    browser = Client()
    browser.force_login(owner)
    cookie = f"heartbeat_session={browser.cookies['heartbeat_session'].value}"
    web = Web(tmp_path / "web.log")
    try:
        web.start()
        # No more than are worked on at once: others wait for their turn first.
        root = f"http://127.0.0.1:{web.port}"
        with psycopg.connect(database_url()) as other, ThreadPoolExecutor(12) as pool:
            other.execute("LOCK TABLE alerting_bridge IN ACCESS EXCLUSIVE MODE")
            scripts = [pool.submit(ask, f"{root}/api/v1/bridges/", authorization=f"Bearer {key}") for _ in range(2)]
            pages = [pool.submit(ask, f"{root}/admin/alerting/bridge/", cookie=cookie) for _ in range(2)]
            time.sleep(1)
            pings = []
            while not all(each.done() for each in (*scripts, *pages)):
                pings.append(ask(f"{root}/Heartbeat/{job.token}", method="POST"))
                time.sleep(0.2)
        for status, headers, body, seconds in [each.result() for each in scripts]:
            assert (status, headers["Content-Type"], headers["Retry-After"]) == (503, "application/problem+json", "5")
            assert json.loads(body)["code"] == "store_too_slow"
            assert 4 < seconds < 9
        for status, headers, body, _ in [each.result() for each in pages]:
            assert (status, headers["Retry-After"]) == (503, "5")
            assert "This took too long" in body
        assert {status for status, *_ in pings} == {200}
        assert max(seconds for *_, seconds in pings) < 3, "pings waited for the lock, too"
        assert ask(f"{root}/api/v1/bridges/", authorization=f"Bearer {key}")[0] == 200
    finally:
        web.end()
