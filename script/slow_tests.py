"""Writes the lists of tests that take long, from the report of a whole run with --long.

tests/slow_tests.txt: tests that `script/test --fast` leaves out. tests/sampled_tests.txt: tests with many cases that
take long together; without --long, each tenth case runs.

./script/test --long --junitxml REPORT.xml, on a machine that does nothing else; then
python -m script.slow_tests REPORT.xml
"""

import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Final

TESTS: Final = Path(__file__).resolve().parents[1] / "tests"
LIST: Final = TESTS / "slow_tests.txt"
SAMPLED: Final = TESTS / "sampled_tests.txt"
SLOW_SECONDS: Final = 0.3  # with its fixtures; nine of ten tests are faster
MANY_CASES: Final = 5
SECONDS_OF_MANY: Final = 2.0


def times_of(report: Path) -> dict[str, list[float]]:
    """Return the seconds that each case of each test function took, by the function's name."""
    seconds = defaultdict(list)
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - a file that pytest wrote
        seconds[f"{case.get('classname')}.{case.get('name', '').partition('[')[0]}"].append(float(case.get("time", 0)))
    return seconds


def slow_tests(times: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the names of the test functions whose cases take longer than SLOW_SECONDS on average, sorted."""
    return sorted(name for name, seconds in times.items() if mean(seconds) > SLOW_SECONDS)


def sampled_tests(times: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the names of the test functions with many cases that take long together, sorted."""
    return sorted(
        name for name, seconds in times.items() if len(seconds) >= MANY_CASES and sum(seconds) > SECONDS_OF_MANY
    )


if __name__ == "__main__":
    times = times_of(Path(sys.argv[1]))
    LIST.write_text("".join(f"{name}\n" for name in slow_tests(times)), "utf-8")
    SAMPLED.write_text("".join(f"{name}\n" for name in sampled_tests(times)), "utf-8")
