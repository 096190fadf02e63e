"""Runs Heartbeat on one machine: database, broker, migrations, first account, web, engine, delivery and beat."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from embedded import postgres, valkey
from embedded.console import Console
from embedded.disk_errors import explain
from embedded.folders import DataFolder, FolderInUse, locked, open_data_folder
from embedded.lookout import Lookout, open_state
from embedded.options import PROJECT, Options, check_port, read_options
from embedded.process import Account, EmbeddedError, Program, base_env, current_account, succeeds_as
from embedded.program import ProgramPlace, readable_place
from embedded.supervisor import QUIET_TICK, Stopped, Supervisor
from heartbeat_project.variables import is_ours, resolved_variables, without_owners_secrets

READY_SECONDS = 60.0
MIGRATE_SECONDS = 86400.0  # an index on a big table takes hours, and the migration of another start is waited for
FOREVER = 1e9  # seconds
# Only `bootstrap` runs Django's system checks: they import every page, which workers and migrations do not need.
CELERY = ("-m", "heartbeat_project.celery_command", "--quiet", "--skip-checks", "-A")
# The messages between workers are useful only for Celery's monitors, and cost a second at each start.
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def main(arguments: Sequence[str]) -> int:
    """Run the stack until it is asked to stop; return an exit code."""
    console = Console()
    try:
        options = read_options(arguments)
        data = open_data_folder(options.data)
        try:
            with locked(data):
                check_port(options.host, options.port)
                run(options, data, console)
        except FolderInUse:
            if not options.release:
                raise
            return release_running(options, data)
    except EmbeddedError as error:
        print(f"\nHeartbeat cannot start. {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print("\nThe start was interrupted. Nothing is lost: the next start continues from here.", file=sys.stderr)
        return 128 + stopped.number
    except OSError as error:  # a full disk, or a folder that we may not use any more
        print(f"\nHeartbeat cannot start. {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(options: Options, data: DataFolder, console: Console) -> None:
    """Start everything and watch it until we are asked to stop. Raises Stopped if that is before it runs."""
    started = time.monotonic()
    is_running = False
    supervisor = Supervisor(console)
    lookout = Lookout(options, open_state(data, console), variables(options), crashes=supervisor.crashes)
    sign_in: list[str] = []
    try:
        account = f" (servers run as {data.account.name})" if data.account != current_account() else ""
        console.say(f"Data folder: {data.path}{account}")
        env = environment(options, data, start_servers(options, data, supervisor))
        base = application(data, options, env, console)
        supervisor.run(
            manage(base, "migrate", "--noinput", "--skip-checks"),
            show=lambda line: _show_applied(line, console),
            seconds=MIGRATE_SECONDS,
        )
        demo = ("--demo",) if options.demo else ()
        bootstrap = replace(manage(base, "bootstrap", *demo), env={**env, **base.env})
        supervisor.run(bootstrap, show=sign_in.append, seconds=MIGRATE_SECONDS)
        if options.release:
            supervisor.run(manage(base, "release"), show=console.say, seconds=MIGRATE_SECONDS)
        for program in programs(base, options):
            supervisor.keep(program)
        lookout.start()
        if not supervisor.wait(lambda: is_ready(options), seconds=READY_SECONDS):
            console.say(f"Not ready after {READY_SECONDS:.0f} s; {options.base_url}/readyz says why. Still trying.")
        console.say(f"\nHeartbeat runs at {options.base_url}/ (started in {time.monotonic() - started:.1f} s)")
        while sign_in:
            console.say(sign_in.pop(0))
        console.say("Ctrl-C stops it.\n")
        is_running = True
        supervisor.wait(lambda: _show_lookout(lookout, console), seconds=FOREVER, pause=QUIET_TICK)
    except Stopped:
        console.say("Stopping ...")
        if not is_running:
            raise
    finally:
        for line in sign_in:  # The password is generated only once, so it is shown even if the start fails afterwards.
            console.say(line)
        lookout.stop()
        supervisor.shut_down()
        console.say("Stopped.")


def release_running(options: Options, data: DataFolder) -> int:
    """Release the installation that runs on this data folder; return an exit code."""
    addresses = options.database_url or postgres.locate(data).url, options.redis_url or valkey.locate(data).url
    env = base_env() | environment(options, data, addresses)
    return subprocess.run([sys.executable, str(PROJECT / "manage.py"), "release"], env=env, check=False).returncode


def start_servers(options: Options, data: DataFolder, supervisor: Supervisor) -> tuple[str, str]:
    """Start the servers whose URLs are not set; return the URLs of database and broker."""
    database_url, redis_url = options.database_url, options.redis_url
    if not database_url:
        database = postgres.locate(data)
        step = "Starting PostgreSQL ..." if database.home.exists() else "Creating the database ..."
        supervisor.console.say(step)
        supervisor.serve(database)
        database_url = database.url
    if not redis_url:
        broker = valkey.locate(data)
        supervisor.console.say("Starting Valkey ...")
        try:
            supervisor.serve(broker)
        except EmbeddedError as error:
            # Paging needs only the database: without the broker, the workers tick by themselves.
            supervisor.console.say(f"{error}\nHeartbeat starts without the broker, and keeps trying to start it.")
            supervisor.keep(broker.program)
        redis_url = broker.url
    return database_url, redis_url


def environment(options: Options, data: DataFolder, addresses: tuple[str, str]) -> dict[str, str]:
    """Return the environment variables of the application."""
    return {
        # Text for a person at a terminal, unless it is set otherwise.
        "HEARTBEAT_LOG_JSON": os.environ.get("HEARTBEAT_LOG_JSON") or "false",
        **{name: value for name, value in os.environ.items() if value and is_ours(name)},
        **options.from_file,
        "DATABASE_URL": addresses[0],
        "REDIS_URL": addresses[1],
        "SECRET_KEY": options.secret_key or data.secret("secret_key"),
        "HEARTBEAT_BASE_URL": options.base_url,
        "HEARTBEAT_HOST": options.host,
        "HEARTBEAT_PORT": str(options.port),
        "HEARTBEAT_DATA_DIR": str(data.path),
        "HEARTBEAT_SUPERVISED": "true",
        "DJANGO_SETTINGS_MODULE": "heartbeat_project.settings",
        "HOME": str(data.path),
    }


def variables(options: Options) -> dict[str, str]:
    """Return the variables that are set in the environment or else in the `.env` file."""
    return resolved_variables({**options.from_file, **{name: value for name, value in os.environ.items() if value}})


def application(data: DataFolder, options: Options, env: Mapping[str, str], console: Console) -> Program:
    """Return how to run Python for web and workers: its folder, its account (never root), and its variables.

    Raises EmbeddedError if the servers' account can run neither the program nor a copy of it.
    """
    original = ProgramPlace(folder=PROJECT, python=sys.executable)
    account = None
    if data.account != current_account():
        account = data.account
        original = readable_place(data, original, console)
        check_bind(original, options, account)
    program_env = {**without_owners_secrets(env), **original.env}
    return Program(name="", command=(original.python,), folder=original.folder, env=program_env, account=account)


def check_bind(original: ProgramPlace, options: Options, account: Account) -> None:
    """Raise EmbeddedError if the account may not listen on the port, which on many systems is so below 1024."""
    if options.port >= 1024:
        return
    family = "AF_INET6" if ":" in options.probe[0] else "AF_INET"
    listen = f"import socket; socket.socket(socket.{family}).bind({(options.probe[0], options.port)!r})"
    if not succeeds_as(account, [original.python, "-c", listen], folder=original.folder, env=original.env):
        raise EmbeddedError(
            f"Only root may listen on port {options.port}, and web never runs as root. Set HEARTBEAT_PORT to 1024 or "
            f"more and let a proxy listen on port {options.port} (docs/proxy/haproxy.cfg), or allow it to everybody: "
            f"sysctl net.ipv4.ip_unprivileged_port_start={options.port}"
        )


def manage(base: Program, *arguments: str) -> Program:
    """Return how to run a management command."""
    return replace(base, name=arguments[0], command=(*base.command, "manage.py", *arguments))


def programs(base: Program, options: Options) -> list[Program]:
    """Return the processes of the application: the mail server only if it is not turned off.

    Both workers use threads, because they mostly wait for the database or the network. A forked pool would need the
    memory of each process twice or more, and in a solo pool one long tick would delay the others.
    """
    web = ("-m", "heartbeat_project.serve", "--host", options.host, "--port", str(options.port))
    worker = ("heartbeat_project.celery", "worker")
    engine = (*worker, "-Q", "engine", "-n", "engine@%h", "--pool", "threads", "--concurrency", "2", *QUIET)
    delivery = (*worker, "-Q", "delivery", "-n", "delivery@%h", "--pool", "threads", "--concurrency", "8", *QUIET)
    schedule = ("--scheduler", "heartbeat_project.beat:Scheduler", "--max-interval", "1")
    commands = {
        "web": web,
        "engine": (*CELERY, *engine),
        "delivery": (*CELERY, *delivery),
        "beat": (*CELERY, "heartbeat_project.beat_app", "beat", *schedule),
    }
    # One that is wrong ends the process with a sentence.
    if variables(options).get("HEARTBEAT_SMTP_PORT") != "0":
        commands["mail"] = ("-m", "integrations.smtp")
    all_programs = [replace(base, name=name, command=(*base.command, *command)) for name, command in commands.items()]
    # If we die, the workers must die as well. On SIGTERM, Celery would first write a line; its output is gone with us,
    # so it would mistake the broken pipe for a lost broker, reconnect and keep working beside the next start. Therefore
    # SIGKILL; the leases of claimed work expire by themselves.
    return [
        program if program.name in {"web", "mail"} else replace(program, death_signal=signal.SIGKILL)
        for program in all_programs
    ]


def is_ready(options: Options) -> bool:
    """Return whether `/readyz` answers 200."""
    connection = http.client.HTTPConnection(*options.probe, timeout=2)
    try:
        connection.request("GET", "/readyz", headers={"Host": urlsplit(options.base_url).netloc})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _show_lookout(lookout: Lookout, console: Console) -> bool:
    """Print the lines of the lookout; return False, so that the supervisor goes on waiting."""
    for line in lookout.lines():
        console.say(line)
    return False


def _show_applied(line: str, console: Console) -> None:
    if line.strip().startswith(("Applying", "Waiting")):
        console.say(line.strip(), source="migrate")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
