"""The audit of packages fails for a vulnerability alone, and says so where it could not be made."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from script import audit
from script.checks import Checks

KNOWN = {"name": "django", "version": "5.2", "vulns": []}
HARMFUL = {"name": "redis", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2", "3"]}]}
UNKNOWN = {"name": "celery", "skip_reason": "Dependency not found on PyPI and could not be audited: celery (5.6.3)"}


@pytest.mark.parametrize(
    ("packages", "text", "code"),
    [
        ([KNOWN], "", 0),
        ([KNOWN, HARMFUL, UNKNOWN], "redis 1: PYSEC-1, fixed in 2, 3", 1),
        ([KNOWN, UNKNOWN], "The registry knows nothing of celery.", 0),
        ([UNKNOWN], "The audit was not run: the package registry here has no list of vulnerabilities.", audit.NOT_RUN),
    ],
)
def test_what_a_list_of_packages_means(packages, text, code):
    assert audit.judge(packages) == (text, code)


@pytest.mark.parametrize(
    ("behaviour", "code", "said"),
    [
        ("import time; time.sleep(60)", audit.NOT_RUN, "answered within"),
        ("import sys; sys.exit('ERROR: could not connect')", audit.NOT_RUN, "not run: ERROR: could not connect"),
        (f"print({json.dumps({'dependencies': [HARMFUL]})!r}); exit(1)", 1, "PYSEC-1"),
        (f"print({json.dumps({'dependencies': [KNOWN]})!r})", 0, ""),
    ],
)
def test_how_pip_audit_ends(monkeypatch, capsys, behaviour, code, said):
    run = subprocess.run

    def play(_command, **options):
        return run([sys.executable, "-c", behaviour], **options)

    monkeypatch.setattr(audit, "SECONDS", 1)
    monkeypatch.setattr(audit, "subprocess", SimpleNamespace(run=play, TimeoutExpired=subprocess.TimeoutExpired))

    assert audit.main() == code
    assert said in capsys.readouterr().out


def test_a_check_that_was_not_run_is_said_and_no_failure(capsys):
    checks = Checks(env={"PATH": "/usr/bin:/bin"})

    checks.check(
        "vulnerabilities", [sys.executable, "-c", f"print('nobody answers'); raise SystemExit({audit.NOT_RUN})"]
    )

    assert checks.close() == 0
    shown = capsys.readouterr().out
    assert "nobody answers" in shown
    assert "not run (" in shown
