"""Ten thousand bodies that nobody should send, and one of the full size for each way to be slow."""

import gc
import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.inbound.clean_values import MAX_DEPTH, MAX_ELEMENTS, MAX_KEYS
from integrations.inbound.content_encodings import TooLarge
from integrations.inbound.decoding import decode, external_id
from tests.unit.integrations.inbound.hostile import PACKERS, SIZED, TYPES, bodies

# Several times of what it takes, so that a busy machine does not fail it; quadratic time would take minutes.
SECONDS = 3.0


@pytest.fixture
def garbage_is_collected_as_in_web_processes():
    before = gc.get_threshold()
    gc.set_threshold(50_000)
    yield
    gc.set_threshold(*before)


def check(value):
    """Check all that jsonb and the rest of the program rely on."""
    level, depth, keys, elements = [value], 0, 0, 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        keys += sum(len(item) for item in level if isinstance(item, dict))
        elements += sum(len(item) for item in level if isinstance(item, list))
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    assert depth <= MAX_DEPTH
    assert keys <= MAX_KEYS
    assert elements <= MAX_ELEMENTS
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode()


def test_ten_thousand_hostile_bodies_are_read_and_clean():
    for body, headers in bodies(seed=1, count=10_000):
        decoded = decode(body, headers=headers, query={})
        check(decoded.payload)
        assert isinstance(external_id(headers, decoded.payload), str)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(TYPES), st.dictionaries(st.text(), st.text(), max_size=3))
def test_any_bytes_and_any_query_are_read(body, kind, query):
    check(decode(body, headers={"content-type": kind or ""}, query=query).payload)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e20, 1e20) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_json_that_can_be_stored_is_read_as_it_is(value):
    text = json.dumps(value)
    if "\\u0000" not in text and "\\ud" not in text and "e-" not in text:
        assert decode(text.encode(), headers={"content-type": "application/json"}, query={}).payload == value


@pytest.mark.parametrize("make", SIZED.values(), ids=SIZED)
@pytest.mark.usefixtures("garbage_is_collected_as_in_web_processes")
def test_a_body_of_the_full_size_is_read_soon(make):
    body = make()
    start = time.process_time()
    decoded = decode(body, headers={}, query={})
    assert time.process_time() - start < SECONDS
    check(decoded.payload)


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_is_refused_soon_and_in_little_memory(name):
    body = PACKERS[name](bytes(60_000_000))
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(TooLarge):
        decode(body, headers={"content-encoding": name}, query={})
    assert time.process_time() - start < SECONDS
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()
