"""Which processes the embedded stack keeps, and how they end."""

import signal
from pathlib import Path

import pytest

from heartbeat_project.embedded.options import read_options
from heartbeat_project.embedded.process import Program
from heartbeat_project.embedded.stack import WEB, programs


@pytest.mark.parametrize("name", ["engine", "delivery", "beat"])
def test_celery_is_killed_outright_when_its_supervisor_is_gone(name):
    kept = {
        program.name: program for program in programs(Program(name="", command=(), folder=Path("/")), read_options([]))
    }

    # SIGTERM makes it write to a pipe that nobody reads any more, and then it lives on.
    assert kept[name].death_signal == signal.SIGKILL


def test_the_web_server_is_asked_to_end_so_that_it_takes_its_worker_along():
    kept = {
        program.name: program for program in programs(Program(name="", command=(), folder=Path("/")), read_options([]))
    }

    assert kept["web"].death_signal == signal.SIGTERM


def test_the_image_runs_the_web_server_as_the_stack_does():
    said = (Path(__file__).parents[2] / "Dockerfile").read_text()

    assert f" --workers 1 {' '.join(WEB)} heartbeat_project.asgi:application" in said
