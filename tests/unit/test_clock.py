"""This process's clock, as the database's sets it."""

import subprocess
import sys
import time
from datetime import timedelta

import pytest

from heartbeat_project.kernel import clock

HOURS = timedelta(hours=2)


@pytest.fixture
def machine(monkeypatch):
    """Return a function that sets how far the machine's clock is ahead of the time that the test goes by."""
    true = clock.machine_now() - timedelta(seconds=time.monotonic())

    def set_ahead(by):
        monkeypatch.setattr(clock, "machine_now", lambda: true + timedelta(seconds=time.monotonic()) + by)

    set_ahead(timedelta())
    set_ahead.true = lambda: true + timedelta(seconds=time.monotonic())
    return set_ahead


def read(machine, *, ahead=timedelta(), took=0.0, **steps) -> timedelta:
    """Set the clock by a database that is so far ahead of the true time, and that answered after `took` seconds."""
    return clock.set_by_database(machine.true() + ahead, asked=time.monotonic() - took, **steps)


def shows(machine) -> float:
    """Return how far the clock is ahead of the true time, in seconds."""
    return (clock.now() - machine.true()).total_seconds()


def test_before_the_first_reading_the_machines_clock_is_all_there_is(machine):
    machine(HOURS)
    assert shows(machine) == pytest.approx(7200, abs=0.01)
    assert clock.skew() == timedelta()


@pytest.mark.parametrize("ahead", [HOURS, -HOURS, timedelta(seconds=3)])
def test_a_machine_whose_clock_is_wrong_stamps_nothing_wrong(machine, ahead):
    machine(ahead)
    assert read(machine) == timedelta()
    assert shows(machine) == pytest.approx(0, abs=0.01)
    assert clock.skew().total_seconds() == pytest.approx(ahead.total_seconds(), abs=0.01)


def test_a_machine_whose_clock_is_set_meanwhile_is_not_followed(machine):
    read(machine)
    machine(-HOURS)
    assert shows(machine) == pytest.approx(0, abs=0.01)
    assert abs(read(machine)) < clock.TOLERANCE
    assert clock.skew().total_seconds() == pytest.approx(-7200, abs=0.01)


def test_processes_of_the_databases_own_machine_agree_with_it_to_the_microsecond(machine):
    read(machine, took=0.5)
    assert abs(shows(machine)) < 0.001


def test_a_slow_answer_makes_the_clock_no_worse(machine):
    machine(HOURS)
    read(machine)
    for _ in range(3):
        read(machine, took=1.0)
    assert abs(shows(machine)) < 0.01


def test_a_machine_whose_clock_is_wrong_is_not_followed_because_an_answer_took_as_long(machine):
    read(machine, took=6.0)
    assert abs(shows(machine)) < 0.01, "of a process that has just begun there is nothing better"
    machine(timedelta(seconds=5))
    read(machine, took=6.0)
    assert abs(shows(machine)) < 0.01


@pytest.mark.parametrize("step", [HOURS, timedelta(seconds=3)])
def test_a_step_ahead_of_the_database_is_followed_and_said(machine, step):
    read(machine)
    said = read(machine, ahead=step)
    assert said.total_seconds() == pytest.approx(step.total_seconds(), abs=0.01)
    assert shows(machine) == pytest.approx(step.total_seconds(), abs=0.01)


def test_a_step_back_that_is_known_is_none_to_be_said(machine):
    read(machine)
    said = read(machine, ahead=-HOURS, set_back=HOURS, unmoved=HOURS)
    assert abs(said) < timedelta(seconds=0.1)
    assert shows(machine) == pytest.approx(-7200, abs=0.01)
    assert clock.setting().unmoved == HOURS
    read(machine, ahead=-HOURS, set_back=HOURS)
    assert clock.setting().unmoved is None


def test_a_file_moves_all_processes_or_those_with_a_word_in_their_command(tmp_path):
    """For tests of real processes; without the variable nothing of it is there."""
    moves = tmp_path / "moves"
    moves.write_text("all -7200\nengine 100\nweb 5\n")
    code = (
        "from datetime import datetime, UTC; from heartbeat_project.kernel import clock;"
        "print(round((clock.machine_now() - datetime.now(UTC)).total_seconds()),"
        " clock.database_offset().total_seconds())"
    )
    for variable, said in ((str(moves), "-7100 -7200.0"), ("", "0 0.0")):
        done = subprocess.run(
            [sys.executable, "-c", code, "-Q", "engine"],
            env={"HEARTBEAT_TEST_CLOCK": variable},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == said
