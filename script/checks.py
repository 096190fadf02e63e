"""Every check of the project in order, each with its name and duration; started by `script/test` and `script/lint`."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heartbeat_project.embedded.process import EmbeddedError, base_env, system_path
from heartbeat_project.embedded.testing import embedded_servers, leave_on_signals, run_beside

APPS = ("accounts", "alerting", "escalation", "integrations")
STATIC = {
    "format": ("ruff", "format", "--check", "."),
    "lint": ("ruff", "check", "."),
    "types": ("mypy", "."),
    "layers": ("lint-imports",),
}
MIGRATIONS = {
    "migrations complete": ("python", "manage.py", "makemigrations", "--check", "--dry-run"),
    "migrations safe": (
        *("python", "manage.py", "lintmigrations", "--no-cache"),
        # More room in a varchar: the linter cannot tell it from a change of type.
        *("--ignore-name-contains", "longer_", "--include-apps", *APPS),
    ),
}
PYTEST = ("python", "-m", "pytest")
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = "--no-browser"
NO_TESTS = 5  # pytest's exit code
HOW_TO_GET_A_BROWSER = (
    "Install one (Debian: apt-get install chromium), or set HEARTBEAT_CHROMIUM to its path; "
    f"{NO_BROWSER} leaves these tests out on purpose."
)


@dataclass(kw_only=True)
class Checks:
    """What was checked so far; a failed check does not keep the next from running."""

    env: dict[str, str]
    failed: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def check(self, name: str, command: Sequence[str], *, fine: Sequence[int] = (0,), quiet: bool = True) -> None:
        """Run one check; its output is shown if it fails, or all along if it is not `quiet`."""
        print(f"==> {name}" + ("" if quiet else f": {' '.join(command)}"), flush=True)
        begun = time.monotonic()
        code, output = captured(command, self.env) if quiet else (run_beside(list(command), self.env), "")
        if code not in fine:
            self.failed.append(name)
            print(output, end="")
        print(f"    {'ok' if code in fine else 'FAILED'} ({time.monotonic() - begun:.1f} s)", flush=True)

    def close(self) -> int:
        """Say how it went in one line; return the exit code."""
        took = f"in {time.monotonic() - self.started:.0f} s"
        print(
            f"\nFAILED {took}: {', '.join(self.failed)}" if self.failed else f"\nAll checks passed {took}.", flush=True
        )
        return 1 if self.failed else 0


def main(arguments: list[str]) -> int:
    """Run the static checks, the chosen tests, or everything; return an exit code."""
    leave_on_signals()
    checks = Checks(env=clean_env())
    chosen = [argument for argument in arguments if argument != NO_BROWSER]
    try:
        if chosen == ["--static"]:
            for name, command in STATIC.items():
                checks.check(name, command)
            return checks.close()
        with embedded_servers() as addresses:
            checks.env |= {"DATABASE_URL": addresses.database_url, "REDIS_URL": addresses.redis_url}
            if not chosen:
                for name, command in (STATIC | MIGRATIONS).items():
                    checks.check(name, command)
            left_out = choose_browser(checks, chosen, wanted=NO_BROWSER not in arguments)
            run_tests(checks, chosen, left_out=left_out)
            return checks.close()
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def clean_env() -> dict[str, str]:
    """Return an environment in which a machine's own settings change no result; tests bring their own servers."""
    ours = {
        "DATABASE_URL",
        "REDIS_URL",
        "EMAIL_URL",
        "SECRET_KEY",
        "DJANGO_SETTINGS_MODULE",
        "PYTEST_ADDOPTS",
        "PYTHONWARNINGS",
        "COVERAGE_PROCESS_START",
    }
    kept = {
        name: value
        for name, value in base_env().items()
        if name not in ours and (not name.startswith("HEARTBEAT_") or name == "HEARTBEAT_CHROMIUM")
    }
    return kept | {
        "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), system_path()]),
        "DJANGO_SETTINGS_MODULE": "heartbeat_project.settings",
        "SECRET_KEY": "for-tests-only",
        # Static checks import the settings and connect nowhere.
        "DATABASE_URL": "postgres://nobody@/nowhere",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }


def run_tests(checks: Checks, chosen: list[str], *, left_out: bool) -> None:
    """Run the chosen tests as given, or all: most on two processes at once, and then those marked serial."""
    if chosen:
        own_marks = any(argument.startswith("-m") for argument in chosen)
        marks = ["-m", "not browser"] if left_out and not own_marks else []
        checks.check("tests", [*PYTEST, *marks, *chosen], quiet=False)
        return
    browser = " and not browser" if left_out else ""
    checks.check("tests", [*PYTEST, "-n", "2", "-m", f"not serial{browser}"], quiet=False)
    checks.check("serial tests", [*PYTEST, "-p", "no:xdist", "-m", f"serial{browser}"], fine=(0, NO_TESTS), quiet=False)


def choose_browser(checks: Checks, chosen: list[str], *, wanted: bool) -> bool:
    """Name a browser in HEARTBEAT_CHROMIUM, installing one where that may be done; return whether tests are left out.

    Tests that are left out though they were wanted are a failure.
    """
    if not wanted:
        print("==> browser tests are left out on purpose", flush=True)
        return True
    if not (found := find_browser(checks.env)):
        tests = browser_tests(checks, chosen)
        if not tests:
            return False
        found = install_browser()
        if not found:
            checks.failed.append("browser tests (no browser)")
            print("==> browser tests\n    FAILED: no Chromium was found, so these cannot run:", *tests, sep="\n      ")
            print(f"    {HOW_TO_GET_A_BROWSER}", flush=True)
            return True
    checks.env["HEARTBEAT_CHROMIUM"] = found
    return False


def find_browser(env: dict[str, str]) -> str:
    """Return the path of a Chromium that runs, or an empty string."""
    for name in (env.get("HEARTBEAT_CHROMIUM", ""), *CHROMIUMS):
        path = shutil.which(name, path=system_path()) if name else None
        if path and captured([path, "--version"], env)[0] == 0:
            return path
    return ""


def install_browser() -> str:
    """Install Debian's Chromium, as root with apt-get only; return its path, or an empty string."""
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
    done = subprocess.run(  # noqa: S603  our own commands
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
