"""What ticks and the pool write about a database that is away is one line a minute; other errors stay as they are."""

import logging
import sys

import psycopg
import pytest
from django.db import OperationalError
from psycopg_pool import PoolTimeout

from heartbeat_project.logs import OneLineAboutTheDatabase


def line(name, cause):
    try:
        try:
            raise cause
        except psycopg.Error as error:
            raise OperationalError(str(error)) from error
    except OperationalError:
        return logging.LogRecord(name, logging.ERROR, __file__, 1, "Task tick raised unexpected", (), sys.exc_info())


def test_ticks_that_fail_for_a_minute_are_one_line_without_a_traceback_and_then_one_that_counts():
    at = [0.0]
    only_one = OneLineAboutTheDatabase(lambda: at[0])
    causes = [PoolTimeout("no connection after 3.00 sec"), psycopg.errors.DiskFull("No space left on device")]
    records = [line("celery.app.trace", causes[number % 2]) for number in range(100)]
    records.append(logging.LogRecord("psycopg.pool", logging.WARNING, __file__, 1, "error connecting", (), None))
    [first] = [record for record in records if only_one.filter(record)]
    assert first.exc_info is None
    assert "no connection after 3.00 sec" in first.getMessage()
    at[0] = 60.0
    assert only_one.filter(later := line("celery.app.trace", causes[0]))
    assert "[100 such lines were left out]" in later.getMessage()


@pytest.mark.parametrize("cause", [psycopg.errors.DeadlockDetected("deadlock"), psycopg.errors.QueryCanceled("slow")])
def test_what_a_statement_met_keeps_its_traceback(cause):
    only_one = OneLineAboutTheDatabase()
    for _ in range(3):
        assert only_one.filter(record := line("celery.app.trace", cause))
        assert record.exc_info is not None
