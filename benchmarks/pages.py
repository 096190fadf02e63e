"""Measures every page and every answer of the API at 100,000 heartbeats and 20,000 alerts: time, queries and bytes."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from django.db import connection
from django.test import Client

from accounts.models.users import User
from accounts.services.api_keys import create_api_key
from benchmarks.addresses import GROUPS, LEFT_OUT, Address, addresses
from benchmarks.installation import fill_installation
from benchmarks.rows import row, save, say
from heartbeat_project.kernel import clock

WARM_UPS, RUNS = 2, 7
AT_MOST_MS = AT_MOST_KB = 150
# Answers to a GET of an address that is no page: it takes only POST, or leads to another address.
NO_GET, REDIRECTS = 405, range(300, 400)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One address: medians of its processor time in milliseconds, its number of queries, and its size as sent."""

    path: str
    group: str
    milliseconds: float
    python: float
    database: float
    queries: int
    kilobytes: float


def pages() -> list[dict[str, Any]]:
    """Fill a large installation, request each address several times, and judge the worst of each group."""
    say("filling 100,000 heartbeats and 20,000 alerts")
    fill_installation()
    _count_all_work_in_the_backend()
    clients = _clients()
    found, not_measured = _open_all(clients)
    say(f"measuring {len(found)} addresses")
    measured = [_measure(clients[address.client], address) for address in found]
    rows = worst(measured)
    save("pages", rows, pages=[asdict(page) for page in measured], left_out=not_measured)
    return rows


def _open_all(clients: Mapping[str, Client]) -> tuple[list[Address], dict[str, str]]:
    """Return the addresses of pages, and why each of the others is none. Raises SystemExit if some cannot be opened."""
    found, not_measured, wrong = [], dict(LEFT_OUT), []
    for address in addresses():
        response = clients[address.client].get(address.path)
        if response.status_code == NO_GET:
            not_measured[address.template] = "takes no GET"
        elif response.status_code in REDIRECTS:
            not_measured[address.template] = f"leads to {response['Location']}"
        elif response.status_code == 200:
            found.append(address)
        else:
            wrong.append(f"{address.path}: {response.status_code}")
    if wrong:
        raise SystemExit(
            "Correct the examples in benchmarks/addresses.py, or leave these addresses out with a reason:\n"
            + "\n".join(wrong)
        )
    return found, not_measured


def worst(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return two rows for each group of addresses: the one with the most processor time, and the largest one."""
    rows = []
    for group in reversed(GROUPS):
        members = [page for page in measured if page.group == group]
        if not members:
            continue
        slowest = max(members, key=lambda page: page.milliseconds)
        largest = max(members, key=lambda page: page.kilobytes)
        time_label = f"{group}, slowest of {len(members)}: `{slowest.path}`"
        size_label = f"{group}, largest: `{largest.path}`"
        rows.append(row(time_label, slowest.milliseconds, unit="ms", at_most=AT_MOST_MS))
        rows.append(row(size_label, largest.kilobytes, unit="kB", at_most=AT_MOST_KB))
    return rows


def _clients() -> dict[str, Client]:
    """Return the clients for pages and for the API, both of the Owner, who is an App Admin as well."""
    owner = User.objects.get(pk=1)
    browser = Client(SERVER_NAME="localhost", headers={"accept-encoding": "gzip, deflate, br"})
    browser.force_login(owner)
    _, key = create_api_key(owner, name="benchmark", now=clock.now())
    program = Client(
        SERVER_NAME="localhost", headers={"accept-encoding": "gzip, deflate", "authorization": f"Bearer {key}"}
    )
    return {"page": browser, "api": program}


def _measure(client: Client, address: Address) -> Measured:
    queries: list[str] = []

    def count(execute: Any, sql: str, *arguments: Any) -> Any:
        queries.append(sql)
        return execute(sql, *arguments)

    # Not CaptureQueriesContext: the test client empties the log of queries when a request begins.
    with connection.execute_wrapper(count):
        size = _request(client, address.path)
    for _ in range(WARM_UPS - 1):
        _request(client, address.path)
    backends = _backends()
    python, database = [], []
    for _ in range(RUNS):
        before, worked = _processor_times(backends), time.process_time()
        _request(client, address.path)
        python.append(1e3 * (time.process_time() - worked))
        after = _processor_times(backends)
        database.append(sum(after[pid] - before[pid] for pid in after) / 1e6)
    return Measured(
        path=address.path,
        group=address.group,
        milliseconds=round(median(map(sum, zip(python, database, strict=True))), 1),
        python=round(median(python), 1),
        database=round(median(database), 1),
        queries=len(queries),
        kilobytes=round(size / 1e3, 1),
    )


def _request(client: Client, path: str) -> int:
    """Return the number of bytes of the answer."""
    response = client.get(path)
    if response.status_code != 200:
        raise SystemExit(f"{path} is answered {response.status_code}")
    return len(response.getvalue())


def _count_all_work_in_the_backend() -> None:
    """Do without parallel workers: they are processes of their own, whose time ends with them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        [name] = cursor.fetchone()
        cursor.execute(f"ALTER DATABASE {connection.ops.quote_name(name)} SET max_parallel_workers_per_gather = 0")
        cursor.execute("SET max_parallel_workers_per_gather = 0")


def _backends() -> list[int]:
    """Return the process ids of all sessions: some answers are computed in a thread with a connection of its own."""
    with connection.cursor() as cursor:
        # Not those of autovacuum, which come and go.
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        return [pid for (pid,) in cursor.fetchall()]


def _processor_times(pids: Sequence[int]) -> dict[int, int]:
    """Return the nanoseconds that each of these processes has used (Linux); one that has ended is left out."""
    times = {}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            times[pid] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return times
