"""How often the garbage collector of a web process holds up all pings."""

import gc

import pytest

from heartbeat_project import asgi


@pytest.fixture
def as_before():
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_is_loaded_is_left_out_and_a_thousand_pings_that_wait_start_no_collection(as_before):
    collections = []
    asgi.collect_garbage_rarely()
    frozen = gc.get_freeze_count()
    gc.callbacks.append(lambda phase, info: collections.append(phase))
    try:
        waiting = [[[] for _ in range(30)] for _ in range(1_000)]
    finally:
        gc.callbacks.pop()

    assert frozen > 10_000
    assert len(waiting) == 1_000
    assert collections == []
