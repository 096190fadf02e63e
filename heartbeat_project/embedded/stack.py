"""The product on one machine: database, broker, migrations, first account, web, engine, delivery and beat."""

import http.client
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from heartbeat_project.embedded import postgres, valkey
from heartbeat_project.embedded.console import Console
from heartbeat_project.embedded.folders import DataFolder, locked, open_data_folder
from heartbeat_project.embedded.options import PROJECT, Options, check_port, read_options
from heartbeat_project.embedded.process import Account, EmbeddedError, Program, current_account, succeeds_as
from heartbeat_project.embedded.supervisor import Stopped, Supervisor

READY_SECONDS = 60.0
MIGRATE_SECONDS = 3600.0
FOREVER = 1e9
# `bootstrap` runs Django's checks, once: they import every page, which no worker and no migration needs.
CELERY = ("-m", "celery", "--quiet", "--skip-checks", "-A", "heartbeat_project.celery")
# What the workers would say to each other only matters to Celery's own monitors, and costs a second at each start.
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")

# Connections that say nothing count too: with the server's own bound of 1,024, so many of them shut everybody out.
# What each may hold in memory is bounded instead.
WEB = (
    *("--interface", "asgi", "--no-ws", "--backpressure", "10000"),
    *("--http1-buffer-size", "65536", "--http2-max-headers-size", "65536"),
)


def main(arguments: Sequence[str]) -> int:
    """Run the stack until it is asked to stop; return an exit code."""
    console = Console()
    try:
        options = read_options(arguments)
        data = open_data_folder(options.data)
        with locked(data):
            check_port(options.host, options.port)
            run(options, data, console)
    except EmbeddedError as error:
        print(f"\nHeartbeat cannot start. {error}", file=sys.stderr)
        return 1
    return 0


def run(options: Options, data: DataFolder, console: Console) -> None:
    """Start everything, say so, and watch it until somebody asks to stop."""
    started = time.monotonic()
    supervisor = Supervisor(console)
    sign_in: list[str] = []
    try:
        console.say(
            f"Data folder: {data.path}"
            + (f" (servers run as {data.account.name})" if data.account != current_account() else "")
        )
        env = environment(options, data, start_servers(options, data, supervisor))
        account = application_account(data, options, console)
        base = Program(name="", command=(), folder=PROJECT, env=env, account=account)
        supervisor.run(
            manage(base, "migrate", "--noinput", "--skip-checks"),
            show=lambda line: _show_applied(line, console),
            seconds=MIGRATE_SECONDS,
        )
        demo = ("--demo",) if options.demo else ()
        supervisor.run(manage(base, "bootstrap", *demo), show=sign_in.append, seconds=MIGRATE_SECONDS)
        for program in programs(base, options):
            supervisor.keep(program)
        if not supervisor.wait(lambda: is_ready(options), seconds=READY_SECONDS):
            console.say(
                f"Not ready after {READY_SECONDS:.0f} s; {options.base_url}/readyz says what is missing. Still trying."
            )
        console.say(f"\nHeartbeat runs at {options.base_url}/ (started in {time.monotonic() - started:.1f} s)")
        while sign_in:
            console.say(sign_in.pop(0))
        console.say("Ctrl-C stops it.\n")
        supervisor.wait(lambda: False, seconds=FOREVER)
    except Stopped:
        console.say("Stopping ...")
    finally:
        for line in sign_in:  # A password is generated once: it is shown even if the start goes wrong after that.
            console.say(line)
        supervisor.shut_down()
        console.say("Stopped.")


def start_servers(options: Options, data: DataFolder, supervisor: Supervisor) -> tuple[str, str]:
    """Start those servers that were not given; return the addresses of database and broker."""
    database_url, redis_url = options.database_url, options.redis_url
    if not database_url:
        database = postgres.locate(data)
        supervisor.console.say("Starting PostgreSQL ..." if database.home.exists() else "Making the database ...")
        supervisor.serve(database)
        database_url = database.url
    if not redis_url:
        broker = valkey.locate(data)
        supervisor.console.say("Starting Valkey ...")
        supervisor.serve(broker)
        redis_url = broker.url
    return database_url, redis_url


def environment(options: Options, data: DataFolder, addresses: tuple[str, str]) -> dict[str, str]:
    """Return what the application is told through its environment."""
    return {
        # For a person at a terminal, unless told otherwise.
        "HEARTBEAT_LOG_JSON": os.environ.get("HEARTBEAT_LOG_JSON") or "false",
        **options.given,
        "DATABASE_URL": addresses[0],
        "REDIS_URL": addresses[1],
        "SECRET_KEY": options.secret_key or data.secret("secret_key"),
        "HEARTBEAT_BASE_URL": options.base_url,
        "HEARTBEAT_HOST": options.host,
        "HEARTBEAT_PORT": str(options.port),
        "HEARTBEAT_DATA_DIR": str(data.path),
        "DJANGO_SETTINGS_MODULE": "heartbeat_project.settings",
        "HOME": str(data.path),
    }


def application_account(data: DataFolder, options: Options, console: Console) -> Account | None:
    """Return whom web and workers run as: the servers' account if it can read the program, else ourselves."""
    if data.account == current_account():
        return None
    readable = "import django, celery; open('manage.py').close()"
    if not succeeds_as(data.account, [sys.executable, "-c", readable], folder=PROJECT):
        console.say(f"Web and workers run as root: {data.account.name} cannot read {PROJECT} or {sys.executable}.")
        return None
    if options.port < 1024:
        console.say(f"Web and workers run as root, because port {options.port} needs it.")
        return None
    return data.account


def manage(base: Program, *arguments: str) -> Program:
    """Return a management command."""
    return replace(base, name=arguments[0], command=(sys.executable, "manage.py", *arguments))


def programs(base: Program, options: Options) -> list[Program]:
    """Return the four processes of the application.

    Both workers use threads: their time is spent waiting for the database or the network, a forked pool would hold
    each process's memory twice or more, and with the solo pool one long tick would hold the others up.
    """
    web = ("granian", "--host", options.host, "--port", str(options.port), "--workers", "1", *WEB)
    engine = ("worker", "-Q", "engine", "-n", "engine@%h", "--pool", "threads", "--concurrency", "2", *QUIET)
    delivery = ("worker", "-Q", "delivery", "-n", "delivery@%h", "--pool", "threads", "--concurrency", "8", *QUIET)
    beat = ("beat", "--scheduler", "django_celery_beat.schedulers:DatabaseScheduler", "--max-interval", "1")
    commands = {
        "web": ("-m", *web, "heartbeat_project.asgi:application"),
        "engine": (*CELERY, *engine),
        "delivery": (*CELERY, *delivery),
        "beat": (*CELERY, *beat),
    }
    found = [replace(base, name=name, command=(sys.executable, *command)) for name, command in commands.items()]
    # Asked to end by SIGTERM, Celery first says so; with us its output is gone, it takes the broken pipe for a lost
    # broker, connects again and works on beside the next start. What it had claimed comes free by itself.
    return [program if program.name == "web" else replace(program, death_signal=signal.SIGKILL) for program in found]


def is_ready(options: Options) -> bool:
    """Answer whether the web server says that all of it is ready."""
    connection = http.client.HTTPConnection(*options.probe, timeout=2)
    try:
        connection.request("GET", "/readyz", headers={"Host": urlsplit(options.base_url).netloc})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _show_applied(line: str, console: Console) -> None:
    if line.strip().startswith("Applying"):
        console.say(line.strip(), source="migrate")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
