"""Starts and stops child processes that never outlive us: own session, death signal, dropped privileges."""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heartbeat_project.variables import is_ours

SERVICE_ACCOUNT = "heartbeat"
_PR_SET_PDEATHSIG = 1
# Looked up before any fork: a lookup between fork and exec could wait for a lock that another thread held.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class EmbeddedError(Exception):
    """The embedded stack cannot go on; the message says what is wrong and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """The user and group that a child runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A command with its folder, environment and account, and the signals that stop it, each with seconds to wait."""

    name: str
    command: tuple[str, ...]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    death_signal: signal.Signals = signal.SIGTERM
    stop_signals: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 15.0),)


def current_account() -> Account:
    """Return the account that this process runs as."""
    uid = os.geteuid()
    return Account(name=_name_of(uid), uid=uid, gid=os.getegid())


def owner_of(path: Path) -> Account:
    """Return the account that owns `path`."""
    status = path.stat()
    return Account(name=_name_of(status.st_uid), uid=status.st_uid, gid=status.st_gid)


def service_account() -> Account:
    """Return the account for servers that root starts: `heartbeat`, created on first use, else `nobody`.

    Raises EmbeddedError if there is neither.
    """
    for name in (SERVICE_ACCOUNT, "nobody"):
        if name == SERVICE_ACCOUNT and not _exists(name) and (useradd := shutil.which("useradd", path=system_path())):
            options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
            subprocess.run([useradd, *options, "--shell", "/usr/sbin/nologin", name], capture_output=True, check=False)
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise EmbeddedError(
        "Database servers never run as root, and there is no service account. "
        "Create one with `useradd --system heartbeat`."
    )


def system_path() -> str:
    """Return our PATH with the system's folders added, which `env -i` and cron leave out."""
    standard = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    path_parts = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    return os.pathsep.join([*path_parts, *(part for part in standard if part not in path_parts)])


def succeeds_as(
    account: Account | None, command: list[str], *, folder: Path, env: Mapping[str, str] | None = None
) -> bool:
    """Return whether `command` exits with 0 as `account`; only a real run respects modes, ACLs and mount options."""
    try:
        completed = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            timeout=30,
            check=False,
            env={**base_env(), **(env or {})},
            **rights(account),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return completed.returncode == 0


def base_env() -> dict[str, str]:
    """Return the environment of every child: ours with a usable PATH, without variables that change Python.

    Heartbeat's own variables are left out, because database and broker must not see its secrets; processes that need
    them get them explicitly.
    """
    overridden = {"PYTHONHOME", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"}
    inherited = {name: value for name, value in os.environ.items() if name not in overridden and not is_ours(name)}
    return inherited | {"PATH": system_path(), "PYTHONUTF8": "1"}


def spawn(program: Program, *, output: int) -> subprocess.Popen[bytes]:
    """Start `program` in its own session, with its output to the file descriptor `output`; on Linux it dies with us.

    Call it from the main thread: the kernel sends the death signal when the *thread* that forked ends.
    """
    process: subprocess.Popen[bytes] = subprocess.Popen(
        program.command,
        cwd=program.folder,
        env={**base_env(), **program.env},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        umask=0o077,
        preexec_fn=tied(program.death_signal),  # noqa: PLW1509  one system call, bound in advance
        **rights(program.account),
    )
    return process


def tied(death_signal: signal.Signals) -> Callable[[], None]:
    """Return a function that a child calls before its program, so that on Linux it gets `death_signal` when we die."""
    parent, number = os.getpid(), int(death_signal)

    def tie() -> None:
        # subprocess calls this after it changes the user, which clears the death signal. If we died before this call,
        # the child has another parent already.
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return tie


def stop(child: subprocess.Popen[bytes], program: Program) -> None:
    """Stop `child` with its program's signals, each with its timeout, and finally SIGKILL its whole group."""
    for number, timeout in program.stop_signals:
        if child.poll() is None:
            child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout)
    end_group(child)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the remaining processes of the session of `child`, such as workers of a killed parent, and reap `child`."""
    # The child may be reaped already, but no other group can get its number while a member lives.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def wait_until(
    condition: Callable[[], bool], *, seconds: float, pause: float = 0.01, then: Callable[[], object] = lambda: None
) -> bool:
    """Poll `condition` for at most `seconds`; return whether it became true.

    Between two polls are `pause` seconds, and whatever time `then` takes.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        then()
    return True


def runs_here(pid: int, *, program: str, folder: Path, mark: str) -> bool:
    """Return whether process `pid` is `program` working in `folder`, and not another process with a reused number.

    If the system hides both (another user's process in a container, macOS), its command line must contain `mark`.
    """
    try:
        executable = Path(f"/proc/{pid}/exe").readlink()
        name = executable.name.removesuffix(" (deleted)")  # the kernel's mark for a file that was replaced
        return name == program and Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except OSError:
        line = _command_line(pid)
    return program in line and mark in line


def end_orphan(pid: int, *, gently: signal.Signals, harshly: signal.Signals, gone: Callable[[], bool]) -> None:
    """Stop a server that a killed supervisor left running, and wait until `gone` is true. Raises EmbeddedError."""
    for number, timeout in ((gently, 30.0), (harshly, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(gone, seconds=timeout):
            return
    raise EmbeddedError(f"Process {pid} of an earlier run does not stop. Kill it and start again.")


def rights(account: Account | None) -> dict[str, Any]:
    """Return subprocess's arguments to run as `account`; none unless we are root and it is another account."""
    if account is None or os.geteuid() != 0 or account.uid == 0:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _exists(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # the user of a container may be missing in /etc/passwd
        return str(uid)


def _command_line(pid: int) -> str:
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    listing = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(listing, capture_output=True, text=True, check=False, env=base_env()).stdout
