"""What Django would refuse is made readable before it sees a request that brings an event."""

import pytest

from heartbeat_project.event_requests import MAX_PARAMETERS, is_event, readable
from integrations.inbound import default_keys


def scope(path="/POSTAlert/token", query=b"", headers=()):
    return {"type": "http", "path": path, "query_string": query, "headers": list(headers)}


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/POSTAlert/t", True), ("/postalert/t/x", True), ("/POSTAlert", False), ("/x/POSTAlert/t", False)],
)
def test_events_are_known_by_their_path(path, expected):
    assert is_event(scope(path)) is expected


def test_nul_is_replaced_in_path_and_query():
    made = readable(scope("/POSTAlert/t/a\0b", b"a=%00&b=1"))
    assert (made["path"], made["query_string"]) == ("/POSTAlert/t/a\N{REPLACEMENT CHARACTER}b", b"a=%EF%BF%BD&b=1")


def test_the_content_type_is_hidden_from_django_and_cut_and_nobody_else_can_give_one():
    headers = [(b"content-type", b"x" * 5_000), (b"content-type", b"b"), (b"x-heartbeat-content-type", b"forged")]
    assert readable(scope(headers=[*headers, (b"host", b"x")]))["headers"] == [
        (b"host", b"x"),
        (b"x-heartbeat-content-type", b"x" * 1_000),
    ]
    assert readable(scope(headers=headers[2:]))["headers"] == []


def test_parameters_beyond_those_that_django_reads_are_left_out():
    query = b"&".join(b"k%d=1" % number for number in range(3 * MAX_PARAMETERS))
    made = readable(scope(query=query))["query_string"]
    assert made.count(b"&") == MAX_PARAMETERS - 1
    assert query.startswith(made)


def test_long_keys_of_events_are_not_kept_in_memory():
    before = default_keys._plain_key.cache_info().currsize
    for number in range(50):
        assert default_keys.plain_key(f"Long_{number}" + "x" * 1_000) == f"long{number}" + "x" * 1_000
    assert default_keys._plain_key.cache_info().currsize == before
