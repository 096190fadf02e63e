"""The database is killed under events: they are answered 503 until it is back, and what was answered 200 is stored."""

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.processes import running_stack, until

pytestmark = [pytest.mark.serial, pytest.mark.long, pytest.mark.timeout(180)]


def test_events_go_on_after_the_database_was_killed():
    with running_stack() as stack:
        policy = stack.get("/api/v1/escalation-policies/")[1]["results"][-1]["id"]
        body = {"type": "api", "name": "Shop", "escalation_policy": policy}
        url = stack.post("/api/v1/integrations/", body)["api_url"]
        path = url[url.index("/POSTAlert/") :]
        over, numbers = threading.Event(), count()
        stored: list[int] = []
        refused: list[tuple[int, str | None]] = []

        def post_on(_: int) -> None:
            while not over.wait(0.1):
                event = json.dumps({"alertKey": f"db{next(numbers)}", "title": "db is down"}).encode()
                request = urllib.request.Request(stack.url + path, event, method="POST")
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        stored.append(json.load(answer)["event"])
                except urllib.error.HTTPError as error:
                    refused.append((error.code, error.headers["Retry-After"]))

        with ThreadPoolExecutor(4) as pool:
            posting = [pool.submit(post_on, number) for number in range(4)]
            until(lambda: len(stored) > 20, seconds=60, what=f"events are stored\n{stack.tail()}")
            killed = stack.kill("postgres")
            stack.comes_back("postgres", after=killed, seconds=60)
            until(stack.ready, seconds=60, what="ready again")
            so_far = len(stored)
            until(lambda: len(stored) > so_far + 20, seconds=60, what=f"events are stored again\n{stack.tail()}")
            over.set()
            for each in posting:
                each.result(90)
        assert {status for status, _ in refused} <= {503}
        assert all(after and int(after) > 0 for _, after in refused)
        assert refused, "the database came back before anything came"
        assert {pk for (pk,) in stack.sql("SELECT id FROM integrations_inboundevent")} >= set(stored)
        # Nothing is half done: what the storm did not fold has an alert for each event.
        [(half_done,)] = stack.sql(
            "SELECT count(*) FROM integrations_inboundevent WHERE NOT EXISTS "
            "(SELECT FROM alerting_alert WHERE id = (result -> 0 ->> 'alert')::bigint)"
        )
        assert half_done == 0
