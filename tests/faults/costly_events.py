"""Events of one organization that cost as much as they may: many at once, large ones, and costly mappings."""

import json
from collections.abc import Callable
from typing import Any

Call = Callable[[str, str, Any], tuple[int, Any]]
Input = dict[str, Any]  # of httpx.Client.request

ADDRESSES = 9  # each takes 50 events in a second
LARGE = 1_000_000
# All are within the limits of what can be saved; the programs of the patterns are nearly as large as they may be.
PATTERN = "(?:[a-q][^u-z]{1,40}){1,8}x{1,40}$"
TEMPLATE = "{{ payload | tojson | replace('a', 'bb') | upper | lower | regex('(a|b|c)+x{1,90}$') }}"
FIELDS = ("source", "source_name", "source_id", "subject", "short_text", "long_text", "priority", "url", "status")


def _post(url: str, body: Any) -> Input:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {"method": "POST", "url": url, "content": content, "headers": {"Content-Type": "application/json"}}


def _integration(call: Call, name: str, **settings: Any) -> str:
    """Create an API integration; return its address."""
    policy = call("GET", "/api/v1/escalation-policies/", None)[1]["results"][-1]["id"]
    body = {"type": "api", "name": name, "escalation_policy": policy, **settings}
    status, answer = call("POST", "/api/v1/integrations/", body)
    assert status == 201, answer
    return answer["api_url"]


def flood(call: Call, name: str) -> list[Input]:
    """Return new keys by the thousand, each its own problem, beyond the limit of a storm; every eighth is large."""
    urls = [_integration(call, f"{name} {number}") for number in range(ADDRESSES)]
    padding = "x " * (LARGE // 2)
    deep = b'{"a":' * 60
    large = [
        json.dumps({"title": "large", "text": padding}).encode(),
        json.dumps([{"alertKey": f"part {number}", "title": "part"} for number in range(20_000)]).encode(),
        b'{"title": "deep", "list": [' + b",".join([deep + b"1" + b"}" * 60] * 2_500) + b"]}",
    ]
    inputs = []
    for number in range(4_000):
        small = {"alertKey": f"key {number}", "status": "firing", "title": f"{number} is down"}
        body = large[number // 8 % 3] if number % 8 == 0 else small
        # Half of them go to one address.
        inputs.append(_post(urls[0 if number % 2 else number // 2 % ADDRESSES], body))
    return inputs


def costly(call: Call, name: str) -> list[Input]:
    """Return events of mappings and rules that take all the work they may."""
    condition = {"path": "alerts[*].text", "op": "matches", "value": PATTERN}
    rules = [
        {
            "name": f"rule {number}",
            "when": {"any": [{**condition, "value": f"{PATTERN[:-1]}{number}{each}$"} for each in range(20)]},
            "then": {"priority": "low"},
            "stop": False,
        }
        for number in range(100)
    ]
    mapping = dict.fromkeys(FIELDS, TEMPLATE)
    words = "abcdefghijklmnopq " * 60
    alerts = [{"text": words, "title": f"{number}", "more": ["a" * 900] * 2} for number in range(300)]
    body = json.dumps({"alerts": alerts}).encode()
    split = {**mapping, "each": "{{ payload.alerts }}"}
    urls = [
        _integration(call, f"{name} rules", rules=rules),
        _integration(call, f"{name} templates", mapping=mapping),
        _integration(call, f"{name} all", mapping=split, rules=rules),
        _integration(call, f"{name} parts", mapping={"each": "{{ payload.alerts }}"}),
    ]
    assert len(body) < LARGE
    return [_post(url, body) for url in urls]
