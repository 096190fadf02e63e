"""script/setup: which of the machine's Pythons it takes."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIMISED, NEW_ENOUGH, TOO_OLD, STUB = 0, 10, 1, 127


@pytest.fixture
def find_python(tmp_path):
    """Return a function that puts Pythons (exit codes by name) first in the PATH, and returns what is taken."""

    def find(pythons, **env):
        for name, suitability in pythons.items():
            (tmp_path / name).write_text(f"#!/bin/sh\nexit {suitability}\n")
            (tmp_path / name).chmod(0o755)
        return subprocess.run(
            ["/bin/sh", "-c", ". script/setup; find_python"],
            cwd=ROOT,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **env},
            capture_output=True,
            text=True,
            check=False,
        )

    return find


def taken(done):
    return Path(done.stdout.strip()).name


def test_an_optimised_python_is_taken_before_a_newer_one(find_python):
    assert (
        taken(find_python({"python3.13": NEW_ENOUGH, "python3.12": OPTIMISED, "python3.11": OPTIMISED})) == "python3.12"
    )


def test_stubs_and_old_pythons_are_passed_over(find_python):
    assert taken(find_python({"python3.13": STUB, "python3.12": TOO_OLD, "python3.11": OPTIMISED})) == "python3.11"


@pytest.mark.parametrize("suitability", [OPTIMISED, NEW_ENOUGH])
def test_the_one_that_is_set_is_taken_though_another_is_faster(find_python, suitability):
    done = find_python({"python3.13": OPTIMISED, "mine": suitability}, HEARTBEAT_PYTHON="mine")
    assert taken(done) == "mine"


def test_one_that_is_set_and_does_not_run_is_named(find_python):
    done = find_python({"python3.13": OPTIMISED, "mine": TOO_OLD}, HEARTBEAT_PYTHON="mine")
    assert done.returncode == 1
    assert "HEARTBEAT_PYTHON is set to mine" in done.stderr
