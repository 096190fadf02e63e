"""Finds a Python and a program that the account of web and workers can read, and copies them if necessary."""

import contextlib
import json
import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from embedded.console import Console
from embedded.folders import DataFolder
from embedded.process import EmbeddedError, succeeds_as

# The parts of the project that are needed to run it, without secrets, data and history.
PARTS = (
    *("manage.py", "embedded", "heartbeat_project", "integrations", "escalation", "alerting", "accounts"),
    *("templates", "static"),
)
UNNEEDED = shutil.ignore_patterns(
    *("site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "config-*"),
)
LIBRARY = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
PYTHON_WORKS = "import ssl, sqlite3, ctypes"
WORKS = (
    f"{PYTHON_WORKS}, django, celery, psycopg, granian; open('manage.py').close(); "
    "import heartbeat_project, integrations, escalation, alerting, accounts"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramPlace:
    """The project's folder, the Python to run it with, and the environment variables that this Python needs."""

    folder: Path
    python: str
    env: Mapping[str, str] = field(default_factory=dict)


def readable_place(data: DataFolder, original: ProgramPlace, console: Console) -> ProgramPlace:
    """Return `original` if the servers' account can run it, else a copy in the data folder of what it cannot read.

    A copy of an earlier start is used again if nothing has changed. Raises EmbeddedError if the copy does not run.
    """
    if _works(data, original):
        return original
    target = data.path / "program"
    state = _state(original)
    with contextlib.suppress(OSError, ValueError, KeyError):
        stored = json.loads((target / "state.json").read_text())
        copy = ProgramPlace(folder=Path(stored["folder"]), python=stored["python"], env=stored["env"])
        if stored["made_of"] == state and _works(data, copy):
            return copy
    console.say(f"Copying the program to {target}, because {data.account.name} cannot read {original.folder} ...")
    try:
        _clear(target)
        copy = _make_copy(data, original, target)
    except OSError as error:
        raise _copy_error(data, original, f"{error.filename or target}: {error.strerror}") from error
    stored = {"folder": str(copy.folder), "python": copy.python, "env": dict(copy.env), "made_of": state}
    (target / "state.json").write_text(json.dumps(stored))
    return copy


def _clear(target: Path) -> None:
    """Make `target` an empty folder. It is in a folder of the account, which could have put a link there for root."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    target.mkdir()


def _make_copy(data: DataFolder, original: ProgramPlace, target: Path) -> ProgramPlace:
    """Copy what the account cannot read, in this order: Python, the project, the packages (the largest part)."""
    base, env = _base_python(), {}
    if not succeeds_as(data.account, [str(base), "-I", "-c", PYTHON_WORKS], folder=Path("/")):
        base = _copy_python(base, target / "python")
        env = {"LD_LIBRARY_PATH": str(target / "python" / "lib")}
    packages = target / "env" / LIBRARY / "site-packages"
    packages.parent.mkdir(parents=True)
    packages.symlink_to(sysconfig.get_path("purelib"))
    (target / "env" / "bin").mkdir()
    (target / "env" / "bin" / "python").symlink_to(base)
    (target / "env" / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    _open_to_all(target)
    copy = ProgramPlace(folder=original.folder, python=str(target / "env" / "bin" / "python"), env=env)
    if _works(data, copy):
        return copy
    for part in PARTS:
        source, part_copy = original.folder / part, target / "project" / part
        if source.is_dir():
            _copy_folder(source, part_copy)
        else:
            _link_or_copy(source, part_copy)
    _open_to_all(target)
    copy = replace(copy, folder=target / "project")
    if not _works(data, copy):
        packages.unlink()
        _copy_folder(Path(sysconfig.get_path("purelib")), packages)
        _open_to_all(target)
    if not _works(data, copy):
        raise _copy_error(data, original, "the copy does not run")
    return copy


def _works(data: DataFolder, program: ProgramPlace) -> bool:
    return succeeds_as(data.account, [program.python, "-c", WORKS], folder=program.folder, env=program.env)


def _copy_error(data: DataFolder, original: ProgramPlace, reason: str) -> EmbeddedError:
    name = data.account.name
    return EmbeddedError(
        f"Web and workers run as {name}, never as root. That account cannot read {original.folder} or "
        f"{_base_python()}, and copying them to {data.path} failed ({reason}). Move the project to a folder that "
        "everybody may enter, such as /opt/heartbeat, and set HEARTBEAT_PYTHON to a Python that everybody may run, "
        "such as /usr/bin/python3. Or make another account the owner of the project, and start it with that account."
    )


def _base_python() -> Path:
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def _state(original: ProgramPlace) -> dict[str, object]:
    """Return a fingerprint of the Python, the packages and the project's files, to compare with that of a copy."""
    files: list[os.stat_result] = []
    for part in PARTS:
        files += [path.stat() for path in _files(original.folder / part)]
    packages = Path(sysconfig.get_path("purelib"))
    return {
        "python": [str(_base_python()), _base_python().stat().st_mtime],
        "packages": [str(packages), packages.stat().st_mtime],
        "project": [str(original.folder), len(files), max(file.st_mtime for file in files)],
    }


def _files(part: Path) -> Iterable[Path]:
    if part.is_file():
        return (part,)
    return (path for path in part.rglob("*") if path.suffix != ".pyc" and path.is_file())


def _copy_python(base: Path, target: Path) -> Path:
    """Copy the interpreter, its standard library and its shared library; return the path of the interpreter."""
    python = target / "bin" / base.name
    _link_or_copy(base, python)
    _copy_folder(Path(sysconfig.get_path("stdlib")), target / LIBRARY, ignore=UNNEEDED)
    for shared in Path(sysconfig.get_config_var("LIBDIR")).glob("libpython*.so*"):
        _link_or_copy(shared, target / "lib" / shared.name)
    return python


def _open_to_all(target: Path) -> None:
    """Let everybody read the folders and copied files here; hard links are readable already."""
    target.chmod(0o755)
    for parent, folders, files in os.walk(target):
        for name in folders:
            if not (Path(parent) / name).is_symlink():
                (Path(parent) / name).chmod(0o755)
        for name in files:
            path = Path(parent) / name
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and not mode & stat.S_IROTH:
                path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def _copy_folder(source: Path, target: Path, *, ignore: Callable[..., set[str]] | None = None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, copy_function=_link_or_copy, ignore=ignore, ignore_dangling_symlinks=True)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    """Make a hard link to a file that everybody may read, which takes no space; otherwise copy it."""
    resolved = Path(source).resolve()
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    if resolved.stat().st_mode & stat.S_IROTH:
        with contextlib.suppress(OSError):  # the target is on another disk
            os.link(resolved, target)
            return
    shutil.copy2(resolved, target)
