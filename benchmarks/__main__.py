"""Runs benchmarks by name, or all of them, on their own embedded servers, and prints a table.

python -m benchmarks [NAME...] measures; python -m benchmarks --report writes docs/ from the results.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

# Name -> module with a function of that name, which returns rows; in the order of the report.
BENCHMARKS = {
    "pings": "benchmarks.pings",
    "ticks": "benchmarks.ticks",
    "storm": "benchmarks.storm",
    "lag": "benchmarks.lag",
    "events": "benchmarks.events",
    "footprint": "benchmarks.footprint",
    "growth": "benchmarks.growth",
    "history": "benchmarks.history",
    "pages": "benchmarks.pages",
    "chaos": "benchmarks.chaos",
    "soak": "benchmarks.soak",
    "faults": "benchmarks.faults",
}


def main(arguments: list[str]) -> int:
    """Run the benchmarks; return 0 if every bound was reached, else 1."""
    if arguments == ["--report"]:
        from benchmarks.report import write_report  # noqa: PLC0415 - needs no server

        write_report(list(BENCHMARKS))
        return 0
    if unknown := [name for name in arguments if name not in BENCHMARKS]:
        raise SystemExit(f"There is no benchmark {', '.join(unknown)}. Choose from {', '.join(BENCHMARKS)}.")
    from benchmarks.rows import show  # noqa: PLC0415 - after the arguments were read
    from embedded.testing import embedded_servers, leave_on_signals  # noqa: PLC0415

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
    """Return the function of this benchmark. Call it after django.setup(), which its module needs."""
    function: Callable[[], list[dict[str, Any]]] = getattr(importlib.import_module(BENCHMARKS[name]), name)
    return function


def run(arguments: list[str]) -> int:
    """Run the benchmarks; if the servers cannot be started, say in one sentence why."""
    from embedded.disk_errors import explain  # noqa: PLC0415 - as above
    from embedded.process import EmbeddedError  # noqa: PLC0415

    try:
        return main(arguments)
    except EmbeddedError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"The benchmarks could not be run. {explain(error)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
