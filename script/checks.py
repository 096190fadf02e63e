"""Runs every check of the project, each with its name and duration; started by `script/test` and `script/lint`."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO

from embedded.disk_errors import explain
from embedded.process import EmbeddedError, base_env, system_path
from embedded.testing import embedded_servers, leave_on_signals, run_beside
from script.audit import NOT_RUN

ROOT = Path(__file__).resolve().parents[1]
APPS = ("accounts", "alerting", "escalation", "integrations")
# The slowest first, because two run at a time.
STATIC = {
    "types": ("mypy", "."),
    "format": ("ruff", "format", "--check", "."),
    "lint": ("ruff", "check", "."),
    "layers": ("lint-imports",),
    "parsers": ("python", "-m", "script.parsers"),
    "deployment": ("python", "manage.py", "check", "--deploy", "--fail-level", "WARNING"),
    "vulnerabilities": ("python", "-m", "script.audit"),
}
# The settings of an installation on the internet, for the check of the deployment.
PRODUCTION = {
    "HEARTBEAT_BASE_URL": "https://heartbeat.example.org",
    "SECRET_KEY": "a-key-of-production-is-long-and-drawn-by-lot-0123456789",
}
MIGRATIONS = {
    "migrations complete": ("python", "manage.py", "makemigrations", "--check", "--dry-run"),
    "migrations safe": (
        *("python", "manage.py", "lintmigrations", "--no-cache"),
        # A longer varchar: the linter cannot distinguish it from a change of type.
        *("--ignore-name-contains", "longer_"),
        # It puts a partitioned table in a table's place, under its name, in one transaction.
        *("--ignore-name", "0007_inbound_events_by_day", "--include-apps", *APPS),
    ),
}
PYTEST = ("python", "-m", "pytest")
AT_ONCE = 2  # checks
# `--fast` asks no registry, and runs only the tests that a change is most likely to break.
NOT_FAST = "vulnerabilities"
FAST_TESTS = ("benchmarks/tests", "tests/unit", "tests/integration", "tests/stories")
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = "--no-browser"
LONG = "--long"
FAST = "--fast"
COVERAGE = ("--cov", "--cov-report=term:skip-covered")
NO_TESTS = 5  # pytest's exit code
HOW_TO_GET_A_BROWSER = (
    "Install one (Debian: apt-get install chromium), or set HEARTBEAT_CHROMIUM to its path; "
    f"{NO_BROWSER} skips these tests."
)


@dataclass(kw_only=True)
class Checks:
    """The results of the checks so far; after a failed check, the next ones still run."""

    env: dict[str, str]
    failed: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def check(
        self,
        name: str,
        command: Sequence[str],
        *,
        fine: Sequence[int] = (0,),
        quiet: bool = True,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Run one check; print its output if it fails or, unless `quiet`, while it runs. `fine` are good exit codes."""
        title = f"==> {name}" if quiet else f"==> {name}: {' '.join(command)}"
        print(title, flush=True)
        begun = time.monotonic()
        env = {**self.env, **env}
        code, output = captured(command, env) if quiet else (run_beside(list(command), env), "")
        self.judge(name, code, output, fine=fine, begun=begun)

    def judge(self, name: str, code: int, output: str, *, fine: Sequence[int] = (0,), begun: float) -> None:
        """Record the result of a check, and print its output unless it is ok."""
        if code in fine:
            result = "ok"
        elif code == NOT_RUN:
            result = "not run"
        else:
            result = "FAILED"
            self.failed.append(name)
        if result != "ok":
            print(output, end="")
        print(f"    {result} ({time.monotonic() - begun:.1f} s)", flush=True)

    def check_together(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Run checks two at a time, and print each when it has ended."""
        waiting, running = list(commands.items()), list[Running]()
        try:
            while waiting or running:
                while waiting and len(running) < AT_ONCE:
                    name, command = waiting.pop(0)
                    running.append(started(name, command, self.env | (PRODUCTION if name == "deployment" else {})))
                for check in [check for check in running if check.process.poll() is not None]:
                    running.remove(check)
                    print(f"==> {check.name}")
                    self.judge(check.name, check.process.returncode, check.read_output(), begun=check.begun)
                time.sleep(0.02)
        finally:
            for check in running:
                check.process.kill()
                check.output.close()

    def check_static(self) -> None:
        """Run the checks that need no server."""
        self.check_together(STATIC)

    def close(self) -> int:
        """Print the result in one line; return the exit code."""
        duration = f"in {time.monotonic() - self.started:.0f} s"
        if self.failed:
            print(f"\nFAILED {duration}: {', '.join(self.failed)}", flush=True)
            return 1
        print(f"\nAll checks passed {duration}.", flush=True)
        return 0


@dataclass(frozen=True, kw_only=True)
class Running:
    """A check that is running, and the file with its output."""

    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    begun: float

    def read_output(self) -> str:
        """Return the output and close the file; call it when the check has ended."""
        with self.output:
            self.output.seek(0)
            return self.output.read().decode("utf-8", "replace")


def started(name: str, command: Sequence[str], env: Mapping[str, str]) -> Running:
    """Start a check."""
    output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been read
    process = subprocess.Popen(  # noqa: S603 - our own commands
        command, env=env, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    )
    return Running(name=name, process=process, output=output, begun=time.monotonic())


def main(arguments: list[str]) -> int:
    """Run the static checks, the chosen tests, or everything; return an exit code."""
    leave_on_signals()
    checks = Checks(env=clean_env())
    chosen = [argument for argument in arguments if argument not in {NO_BROWSER, LONG, FAST}]
    if {LONG, FAST} <= {*arguments}:
        print(f"{FAST} and {LONG} exclude each other.", file=sys.stderr)
        return 2
    try:
        if chosen == ["--static"]:
            checks.check_static()
            return checks.close()
        with embedded_servers() as addresses:
            checks.env |= {"DATABASE_URL": addresses.database_url, "REDIS_URL": addresses.redis_url}
            if FAST in arguments:
                if not chosen:
                    checks.check_together(
                        {name: command for name, command in (STATIC | MIGRATIONS).items() if name != NOT_FAST}
                    )
                run_fast_tests(checks, chosen)
                return checks.close()
            if not chosen:
                checks.check_together(STATIC | MIGRATIONS)
            left_out = choose_browser(checks, chosen, needed=NO_BROWSER not in arguments)
            run_tests(checks, chosen, left_out=left_out, long=LONG in arguments)
            return checks.close()
    except (EmbeddedError, OSError) as error:
        reason = f"The checks could not be run. {explain(error)}" if isinstance(error, OSError) else error
        print(reason, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def clean_env() -> dict[str, str]:
    """Return an environment without the machine's settings that could change a result."""
    overridden = {"DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS", "PYTHONWARNINGS", "COVERAGE_PROCESS_START"}
    passed_on = {"HEARTBEAT_CHROMIUM", "HEARTBEAT_WRITE_MESSAGES"}
    inherited = {name: value for name, value in base_env().items() if name not in overridden}
    return inherited | {
        **{name: os.environ[name] for name in passed_on if name in os.environ},
        "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), system_path()]),
        "DJANGO_SETTINGS_MODULE": "heartbeat_project.settings",
        "SECRET_KEY": "for-tests-only",
        # Static checks import the settings, but do not connect.
        "DATABASE_URL": "postgres://nobody@/nowhere",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }


def run_fast_tests(checks: Checks, chosen: list[str]) -> None:
    """Run the tests of FAST_TESTS, or the chosen ones, without slow ones and with few examples of each property."""
    marks = ["-m", "not serial and not browser and not long and not slow"]
    checks.check(
        "tests", [*PYTEST, "--hypothesis-profile=fast", "-n", "2", *marks, *(chosen or FAST_TESTS)], quiet=False
    )


def run_tests(checks: Checks, chosen: list[str], *, left_out: bool, long: bool = False) -> None:
    """Run the chosen tests, or all: first most of them in three processes, then those marked serial.

    `left_out` skips browser tests. `long` also runs tests that take minutes, with many examples of each property.
    """
    pytest = [*PYTEST, *(["--hypothesis-profile=long"] if long else [])]
    without = [*(["not browser"] if left_out else []), *([] if long else ["not long"])]
    if chosen:
        own_marks = any(argument.startswith("-m") for argument in chosen)
        marks = ["-m", " and ".join(without)] if without and not own_marks else []
        checks.check("tests", [*pytest, *marks, *chosen], quiet=False)
        return
    parallel, serial = (" and ".join([mark, *without]) for mark in ("not serial", "serial"))
    # Only with `long`, because measuring coverage nearly doubles the processor time on Python 3.11.
    coverage = COVERAGE if long else ()
    # Three on two cores: each waits for its database and its processes a third of the time.
    checks.check("tests", [*pytest, *coverage, "-n", "3", "-m", parallel], quiet=False)
    checks.check("serial tests", [*pytest, "-p", "no:xdist", "-m", serial], fine=(0, NO_TESTS), quiet=False)


def choose_browser(checks: Checks, chosen: list[str], *, needed: bool) -> bool:
    """Set HEARTBEAT_CHROMIUM to a browser, which is installed if possible; return whether browser tests are left out.

    If the chosen tests need a browser and there is none, that counts as a failed check.
    """
    if not needed:
        print(f"==> browser tests are skipped ({NO_BROWSER})", flush=True)
        return True
    if not (browser := find_browser(checks.env)):
        tests = browser_tests(checks, chosen)
        if not tests:
            return False
        browser = install_browser()
        if not browser:
            checks.failed.append("browser tests (no browser)")
            print("==> browser tests\n    FAILED: no Chromium was found. These cannot run:", *tests, sep="\n      ")
            print(f"    {HOW_TO_GET_A_BROWSER}", flush=True)
            return True
    checks.env["HEARTBEAT_CHROMIUM"] = browser
    return False


def find_browser(env: dict[str, str]) -> str:
    """Return the path of a Chromium that runs, or an empty string."""
    for name in (env.get("HEARTBEAT_CHROMIUM", ""), *CHROMIUMS):
        path = shutil.which(name, path=system_path()) if name else None
        if path and captured([path, "--version"], env)[0] == 0:
            return path
    return ""


def install_browser() -> str:
    """Install Debian's Chromium if we are root and there is apt-get; return its path, or an empty string."""
    if os.geteuid() != 0 or not (apt := shutil.which("apt-get", path=system_path())):
        return ""
    print("==> installing Chromium with apt-get", flush=True)
    env = base_env() | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in ([apt, "update", "-q"], [apt, "install", "-q", "-y", "--no-install-recommends", "chromium"]):
        code, output = captured(command, env)
        if code != 0:
            print(output[-2000:], flush=True)
    return find_browser(base_env())


def browser_tests(checks: Checks, chosen: list[str]) -> list[str]:
    """Return the names of the tests that need a browser."""
    listing = [*PYTEST, "--collect-only", "-q", "-p", "no:randomly", "-m", "browser", *chosen]
    _, output = captured(listing, checks.env)
    return [line for line in output.splitlines() if "::" in line and not line.startswith(("ERROR", "FAILED"))]


def captured(command: Sequence[str], env: dict[str, str]) -> tuple[int, str]:
    """Run a command and return its exit code and output."""
    completed = subprocess.run(  # noqa: S603  our own commands
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
    )
    return completed.returncode, completed.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
