"""Runs the long tests of faults, and reports the figures that they measure for each promise."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.rows import row, save, say


def faults() -> list[dict[str, Any]]:
    """Run the long tests one after the other; return a row for each figure that they recorded."""
    with tempfile.TemporaryDirectory(prefix="heartbeat-") as folder:
        file = Path(folder) / "figures"
        file.touch()
        say("the long tests of faults; their output is pytest's")
        command = [sys.executable, "-m", "pytest", "-m", "long and serial", "--timeout=7200", "-q", "tests"]
        pytest = subprocess.run(command, cwd=ROOT, env={**os.environ, "HEARTBEAT_FIGURES": str(file)}, check=False)
        figures = [json.loads(line) for line in file.read_text().splitlines()]
    rows = [
        row(
            f"{figure['fault']}: {figure['promise']}",
            figure["measured"],
            unit=figure["unit"],
            at_most=figure["at_most"],
            at_least=figure["at_least"],
        )
        for figure in figures
    ]
    rows.append(row("tests of faults: all passed", float(pytest.returncode == 0), unit="", at_least=1))
    save("faults", rows, figures=figures)
    return rows
