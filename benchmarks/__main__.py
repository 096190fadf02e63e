"""Run benchmarks by name, or all of them, on embedded servers of their own, and print a table."""

import os
import sys
from collections.abc import Callable
from typing import Any


def main(names: list[str]) -> int:
    """Return 0 when every row was reached."""
    from heartbeat_project.embedded.testing import embedded_servers  # noqa: PLC0415 - before Django is set up

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
        for name, benchmark in chosen(names).items():
            print(f"{name} ...", flush=True)
            rows += benchmark()
    show(rows)
    return 0 if all(row["reached"] for row in rows) else 1


def chosen(names: list[str]) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """Return the benchmarks of these names, or all; exit with the list when one is not known."""
    from benchmarks import lag, pings, storm, ticks  # noqa: PLC0415 - need the app registry

    known: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "pings": pings.pings,
        "ticks": ticks.ticks,
        "lag": lag.lag,
        "storm": storm.storm,
        "growth": pings.growth,
    }
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(known)}.")
    return {name: known[name] for name in names or known}


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    width = max((len(row["what"]) for row in rows), default=0)
    print(f"\n{'what':<{width}}  {'measured':>12}  {'reference':>12}  {'ratio':>8}  must")
    for row in rows:
        numbers = f"{row['measured']:>12.4g}  {row['reference']:>12.4g}  {row['ratio']:>8.3g}"
        print(f"{row['what']:<{width}}  {numbers}  {row['must']}  {'' if row['reached'] else 'NOT REACHED'}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
