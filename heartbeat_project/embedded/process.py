"""Child processes that never outlive us: own session, death signal, dropped rights, graceful stop."""

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

SERVICE_ACCOUNT = "heartbeat"
_PR_SET_PDEATHSIG = 1
# Bound before any fork: looking a symbol up between fork and exec could meet a lock that a thread held.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class EmbeddedError(Exception):
    """The embedded stack cannot go on; the message tells a person what is wrong and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Whom a child runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What to run, where, as whom, and how to end it: signals in turn, each with its patience in seconds."""

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
    """Return the account for servers that root starts, made on first use; `nobody` where none can be made."""
    for name in (SERVICE_ACCOUNT, "nobody"):
        if name == SERVICE_ACCOUNT and not _exists(name) and (useradd := shutil.which("useradd", path=system_path())):
            options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
            subprocess.run([useradd, *options, "--shell", "/usr/sbin/nologin", name], capture_output=True, check=False)
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise EmbeddedError(
        "Database servers never run as root, and there is no service account: "
        "create one with `useradd --system heartbeat`."
    )


def system_path() -> str:
    """Return a PATH that also holds the system's own folders; `env -i` and cron leave them out."""
    standard = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    given = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    return os.pathsep.join([*given, *(part for part in standard if part not in given)])


def succeeds_as(account: Account | None, command: list[str], *, folder: Path) -> bool:
    """Answer whether `command` runs and exits with 0 as `account`: the one test that knows modes, ACLs and mounts."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, timeout=30, check=False, env=base_env(), **rights(account)
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def base_env() -> dict[str, str]:
    """Return this process's environment with a usable PATH, without what would bend another Python.

    A variable of ours that is empty counts as not given.
    """
    bending = {"PYTHONHOME", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in bending and (value or not name.startswith("HEARTBEAT_"))
    }
    return kept | {"PATH": system_path(), "PYTHONUTF8": "1"}


def spawn(program: Program, *, output: int) -> subprocess.Popen[bytes]:
    """Start `program` in a session of its own, writing to the file descriptor `output`; on Linux it dies with us.

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
    """Return what a child runs before its program so that on Linux it gets `death_signal` when we die."""
    parent, number = os.getpid(), int(death_signal)

    def tie() -> None:
        # subprocess calls this after the change of user, which would clear the death signal.
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return tie


def stop(child: subprocess.Popen[bytes], program: Program) -> None:
    """End `child` with its program's signals, each given its time, and at last with SIGKILL for its whole group."""
    for number, patience in program.stop_signals:
        if child.poll() is None:
            child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(patience)
    end_group(child)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the session that `child` led, such as workers whose parent was killed, and reap it."""
    # Its leader may be reaped already, but no other group can take the number while a member lives.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def wait_until(condition: Callable[[], bool], *, seconds: float, pause: float = 0.01) -> bool:
    """Poll `condition` for at most `seconds`; return whether it came true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def runs_here(pid: int, *, program: str, folder: Path, mark: str) -> bool:
    """Answer whether process `pid` is `program` working in `folder`, and not a stranger that got an old number.

    Where the system hides both (another user's process in a container, macOS), its command line must hold `mark`.
    """
    try:
        executable = Path(f"/proc/{pid}/exe").readlink()
        name = executable.name.removesuffix(" (deleted)")  # as the kernel marks a file that was replaced
        return name == program and Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except OSError:
        line = _command_line(pid)
    return program in line and mark in line


def end_orphan(pid: int, *, gently: signal.Signals, harshly: signal.Signals, gone: Callable[[], bool]) -> None:
    """End a server that its dead supervisor left behind, and wait until `gone` says so."""
    for number, patience in ((gently, 30.0), (harshly, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(gone, seconds=patience):
            return
    raise EmbeddedError(f"Process {pid}, left behind by an earlier run, does not stop. End it and start again.")


def rights(account: Account | None) -> dict[str, Any]:
    """Return what subprocess needs to run as `account`: nothing, unless we are root and it is somebody else."""
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
    except KeyError:  # a container's user need not be in /etc/passwd
        return str(uid)


def _command_line(pid: int) -> str:
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    listing = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(listing, capture_output=True, text=True, check=False, env=base_env()).stdout
