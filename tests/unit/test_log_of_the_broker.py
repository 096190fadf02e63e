"""What Celery and its libraries write about a broker that is away is one line, and nothing else is held back."""

import logging
import sys

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from heartbeat_project.logs import OneLineAboutTheBroker


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def only_one(clock):
    return OneLineAboutTheBroker(clock)


def line(name, message, *args, level=logging.ERROR, error=None):
    exc_info = None
    if error is not None:
        try:
            raise error
        except type(error):
            exc_info = sys.exc_info()
    return logging.LogRecord(name, level, __file__, 1, message, args, exc_info)


AWAY = [
    ("celery.worker.consumer.consumer", "consumer: Cannot connect to redis://:**@127.0.0.1:1/0: Error 111"),
    (
        "celery.worker.consumer.consumer",
        "consumer: Connection to broker lost. Trying to re-establish the connection...",
    ),
    (
        "celery.beat",
        "Message Error: Couldn't apply scheduled task integrations.detect_misses: Timeout reading from socket",
    ),
    ("celery.beat", "beat: Connection error: Error 111. Trying again in 2.0 seconds..."),
    ("celery.worker.consumer.consumer", "Frequent restarts detected: RestartFreqExceeded('5 in 1s')"),
    ("kombu.transport.redis", "Redis BRPOP got no reply for 36 seconds; dropping stale connection"),
    (
        "heartbeat_project.kernel.wakeup",
        "the wake-up for escalation.deliver_due was not sent; the next tick runs it: Timeout",
    ),
]


def test_a_thousand_lines_with_tracebacks_become_one_without(only_one):
    error = RedisConnectionError("Error 111 connecting")
    records = [line(*AWAY[number % len(AWAY)], error=error) for number in range(1_000)]
    [first] = [record for record in records if only_one.filter(record)]
    assert first.exc_info is None
    assert "Cannot connect" in first.getMessage()
    assert "Error 111 connecting" in first.getMessage()


@pytest.mark.parametrize(("name", "message"), AWAY)
def test_each_of_their_lines_is_known(only_one, name, message):
    assert only_one.filter(line(name, message))
    assert not only_one.filter(line(name, message))


def test_an_unknown_message_with_an_error_of_the_broker_counts_too(only_one):
    records = [line("celery.worker.worker", "oh", error=RedisConnectionError("no")) for _ in range(3)]
    assert [only_one.filter(record) for record in records] == [True, False, False]


def test_after_ten_minutes_there_is_another_that_says_how_many_were_left_out(only_one, clock):
    written = []
    for second in range(3_600):
        clock.now = 100.0 + second
        record = line(*AWAY[0])
        written += [record.getMessage()] if only_one.filter(record) else []
    assert len(written) == 6
    assert written[1].endswith("[599 such lines were left out]")


@pytest.mark.parametrize(
    ("name", "message", "error"),
    [
        ("celery.app.trace", "Task integrations.detect_misses raised unexpected: connection", RuntimeError("no")),
        ("celery.worker.worker", "Unrecoverable error", ValueError("our own")),
        ("heartbeat_project.ticks", "no tick comes over the broker", None),
        ("escalation.notifications.deliver", "message 1 was not taken: connection refused", None),
        ("django.db", "connection lost", None),
    ],
)
def test_what_is_about_something_else_is_never_held_back(only_one, name, message, error):
    records = [line(name, message, error=error) for _ in range(3)]
    assert all(only_one.filter(record) for record in records)
    assert (records[0].exc_info is None) == (error is None)


def test_news_that_all_is_well_is_never_held_back(only_one):
    records = [
        line("celery.worker.consumer.connection", "Connected to redis://:**@h", level=logging.INFO) for _ in range(3)
    ]
    assert all(only_one.filter(record) for record in records)


def test_every_process_has_the_filter_where_lines_are_written():
    [handler] = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    assert any(isinstance(one, OneLineAboutTheBroker) for one in handler.filters)
