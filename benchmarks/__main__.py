"""Run benchmarks by name, or all of them, on embedded servers of their own, and print a table.

python -m benchmarks [NAME...] measures; python -m benchmarks --report writes docs/ from what was measured.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

# Name: module, whose function of that name returns rows; in the order of the report.
BENCHMARKS = {
    "pings": "benchmarks.pings",
    "ticks": "benchmarks.ticks",
    "storm": "benchmarks.storm",
    "lag": "benchmarks.lag",
    "footprint": "benchmarks.footprint",
    "growth": "benchmarks.growth",
    "history": "benchmarks.history",
    "chaos": "benchmarks.chaos",
    "soak": "benchmarks.soak",
}


def main(arguments: list[str]) -> int:
    """Return 0 when every row was reached."""
    if arguments == ["--report"]:
        from benchmarks.report import write_report  # noqa: PLC0415 - needs no server

        write_report(list(BENCHMARKS))
        return 0
    if unknown := [name for name in arguments if name not in BENCHMARKS]:
        raise SystemExit(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}.")
    from benchmarks.rows import show  # noqa: PLC0415 - after the arguments were read
    from heartbeat_project.embedded.testing import embedded_servers, leave_on_signals  # noqa: PLC0415

    leave_on_signals()
    with embedded_servers() as addresses:
        os.environ |= {
            "DATABASE_URL": addresses.database_url,
            "REDIS_URL": addresses.redis_url,
            "SECRET_KEY": "benchmark",
            "DJANGO_SETTINGS_MODULE": "heartbeat_project.settings",
            "HEARTBEAT_LOG_LEVEL": "WARNING",
        }
        import django  # noqa: PLC0415 - settings read the environment
        from django.core.management import call_command  # noqa: PLC0415

        django.setup()
        call_command("migrate", verbosity=0)
        rows = []
        for name in arguments or BENCHMARKS:
            print(f"{name} ...", flush=True)
            started = time.monotonic()
            rows += benchmark(name)()
            print(f"  done in {time.monotonic() - started:.0f} s", flush=True)
    show(rows)
    return 0 if all(row["reached"] for row in rows) else 1


def benchmark(name: str) -> Callable[[], list[dict[str, Any]]]:
    """Return the function of this benchmark; its module needs the app registry."""
    found: Callable[[], list[dict[str, Any]]] = getattr(importlib.import_module(BENCHMARKS[name]), name)
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
