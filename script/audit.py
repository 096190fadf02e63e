"""Asks whether a locked package has a known vulnerability; says so if no vulnerability service can be asked.

python -m script.audit
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
# The shortest first: if the service knows none of its packages, the others are not asked for.
LOCKS: Final = ("requirements-embedded.txt", "requirements.txt", "requirements-dev.txt")
SECONDS: Final = 60  # for all files
NOT_RUN: Final = 77  # the exit code of a check that could not be run
# Vulnerabilities that cannot harm Heartbeat: id -> reason.
ACCEPTED: Final[Mapping[str, str]] = {}


def main() -> int:
    """Print the findings and return an exit code: 0 for none, 1 for a vulnerability, NOT_RUN."""
    end = time.monotonic() + SECONDS
    exit_code = 0
    for lock in LOCKS:
        text, code = audited(lock, seconds=end - time.monotonic())
        if text:
            print(text)
        if code == NOT_RUN:
            return exit_code or NOT_RUN
        exit_code = exit_code or code
    return exit_code


def audited(lock: str, *, seconds: float) -> tuple[str, int]:
    """Return the findings about the packages of a lock file, as text and exit code."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "5"]
    # The lock file has every package with its hash, so pip has nothing to resolve.
    command += ["--disable-pip", "--require-hashes", "--requirement", lock]
    for vulnerability in ACCEPTED:
        command += ["--ignore-vuln", vulnerability]
    try:
        completed = subprocess.run(  # noqa: S603 - our own command
            command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=max(1, seconds), check=False
        )
    except subprocess.TimeoutExpired:
        return f"The audit was not run: no vulnerability service answered within {SECONDS} s.", NOT_RUN
    try:
        return judge(json.loads(completed.stdout)["dependencies"])
    except (ValueError, KeyError, TypeError):
        reason = (completed.stderr.strip().splitlines() or ["pip-audit printed nothing"])[-1][:200]
        return f"The audit was not run: {reason}", NOT_RUN


def judge(packages: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """Return the findings in pip-audit's list of packages, as text and exit code.

    pip-audit reports no vulnerability as well if its service knows none of the packages: that is NOT_RUN.
    """
    problems = []
    for package in packages:
        for vulnerability in package.get("vulns", []):
            fixed_in = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            problems.append(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed_in}")
    unknown = [package["name"] for package in packages if "vulns" not in package]
    if problems:
        return "\n".join(problems), 1
    if len(unknown) == len(packages):
        return "The audit was not run: the package registry here has no list of vulnerabilities.", NOT_RUN
    return f"The registry knows nothing of {', '.join(unknown)}." if unknown else "", 0


if __name__ == "__main__":
    sys.exit(main())
