"""Figures that tests of faults measure: printed, and kept where `script/bench faults` asks for them."""

import json
import os
from pathlib import Path
from typing import Any

# Set by `script/bench faults`: a file to which each figure is added as a line of JSON.
FILE = "HEARTBEAT_FIGURES"


def record_figure(
    fault: str, promise: str, measured: float, *, unit: str, at_most: float | None = None, at_least: float | None = None
) -> None:
    """Note what was measured under a fault and fail where the promise is not kept.

    `fault` and `promise` are the first cells of the row in docs/reliability.md; `measured` is in `unit`.
    """
    figure: dict[str, Any] = {
        "fault": fault,
        "promise": promise,
        "measured": measured,
        "unit": unit,
        "at_most": at_most,
        "at_least": at_least,
    }
    print(f"{fault}: {promise}: {measured:g} {unit}")  # noqa: T201 - pytest shows it with -s
    if path := os.environ.get(FILE):
        with Path(path).open("a") as file:
            file.write(json.dumps(figure) + "\n")
    assert at_most is None or measured <= at_most, figure
    assert at_least is None or measured >= at_least, figure
