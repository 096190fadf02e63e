"""What `script/test` decides by itself: the environment of tests, the browser, and the summary."""

import signal
import sys

import pytest

from script import checks as module
from script.checks import COVERAGE, Checks, choose_browser, clean_env, find_browser, main, run_fast_tests, run_tests


@pytest.fixture
def checks():
    return Checks(env={"PATH": "/usr/bin:/bin"})


def test_a_machines_own_settings_do_not_reach_the_tests(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://production/heartbeat")
    monkeypatch.setenv("EMAIL_URL", "smtp://production")
    monkeypatch.setenv("HEARTBEAT_PORT", "80")
    monkeypatch.setenv("HEARTBEAT_CHROMIUM", "/opt/chromium")

    env = clean_env()

    assert "production" not in " ".join(env.values())
    assert "HEARTBEAT_PORT" not in env
    assert env["HEARTBEAT_CHROMIUM"] == "/opt/chromium"


def test_a_failed_check_is_shown_named_at_the_end_and_stops_nothing(checks, capsys):
    checks.check("lint", [sys.executable, "-c", "print('line too long'); raise SystemExit(1)"])
    checks.check("types", [sys.executable, "-c", "print('no issues')"])

    assert checks.close() == 1
    shown = capsys.readouterr().out
    assert "line too long" in shown
    assert "no issues" not in shown
    assert shown.splitlines()[-1].startswith("FAILED in ")
    assert shown.splitlines()[-1].endswith(": lint")


def test_without_a_browser_the_tests_that_could_not_run_are_named_and_it_fails(checks, capsys, monkeypatch):
    monkeypatch.setattr(module, "find_browser", lambda _: "")
    monkeypatch.setattr(module, "install_browser", lambda: "")
    monkeypatch.setattr(module, "browser_tests", lambda *_: ["tests/e2e/test_pages.py::test_sign_in"])

    assert choose_browser(checks, [], needed=True) is True

    shown = capsys.readouterr().out
    assert "tests/e2e/test_pages.py::test_sign_in" in shown
    assert "apt-get install chromium" in shown
    assert checks.close() == 1


def test_no_browser_leaves_tests_out_on_purpose_and_passes(checks):
    assert choose_browser(checks, [], needed=False) is True
    assert checks.close() == 0


def test_tests_that_need_no_browser_need_none(checks, monkeypatch):
    monkeypatch.setattr(module, "find_browser", lambda _: "")
    monkeypatch.setattr(module, "browser_tests", lambda *_: [])
    monkeypatch.setattr(module, "install_browser", lambda: pytest.fail("nothing is to be installed"))

    assert choose_browser(checks, ["tests/unit"], needed=True) is False
    assert checks.close() == 0


def test_a_given_browser_must_run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHROMIUMS", ())
    broken, working = tmp_path / "broken", tmp_path / "working"
    for path, code in ((broken, 1), (working, 0)):
        path.write_text(f"#!/bin/sh\nexit {code}\n")
        path.chmod(0o755)

    assert find_browser({"HEARTBEAT_CHROMIUM": str(broken)}) == ""
    assert find_browser({"HEARTBEAT_CHROMIUM": str(working)}) == str(working)


@pytest.mark.parametrize(
    ("chosen", "left_out", "expected"),
    [
        ([], False, [["-n", "3", "-m", "not serial and not long"], ["-p", "no:xdist", "-m", "serial and not long"]]),
        (
            [],
            True,
            [
                ["-n", "3", "-m", "not serial and not browser and not long"],
                ["-p", "no:xdist", "-m", "serial and not browser and not long"],
            ],
        ),
        (["tests/unit", "-k", "ping"], False, [["-m", "not long", "tests/unit", "-k", "ping"]]),
        (["tests/e2e", "-m", "long"], False, [["tests/e2e", "-m", "long"]]),
        (["tests/e2e"], True, [["-m", "not browser and not long", "tests/e2e"]]),
    ],
)
def test_which_tests_run(checks, monkeypatch, chosen, left_out, expected):
    ran: list[list[str]] = []
    monkeypatch.setattr(Checks, "check", lambda _self, _name, command, **_: ran.append(list(command)[3:]))

    run_tests(checks, chosen, left_out=left_out)

    assert ran == expected


def test_long_runs_everything_with_many_examples(checks, monkeypatch):
    ran: list[list[str]] = []
    monkeypatch.setattr(Checks, "check", lambda _self, _name, command, **_: ran.append(list(command)[3:]))

    run_tests(checks, [], left_out=False, long=True)

    profile = "--hypothesis-profile=long"
    assert ran == [[profile, *COVERAGE, "-n", "3", "-m", "not serial"], [profile, "-p", "no:xdist", "-m", "serial"]]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [([], ["benchmarks/tests", "tests/unit", "tests/integration", "tests/stories"]), (["tests/e2e"], ["tests/e2e"])],
)
def test_fast_runs_what_takes_seconds_with_few_examples(checks, monkeypatch, chosen, expected):
    ran: list[list[str]] = []
    monkeypatch.setattr(Checks, "check", lambda _self, _name, command, **_: ran.append(list(command)[3:]))

    run_fast_tests(checks, chosen)

    marks = "not serial and not browser and not long and not slow"
    assert ran == [["--hypothesis-profile=fast", "-n", "2", "-m", marks, *expected]]


def test_fast_and_long_exclude_each_other(capsys, monkeypatch):
    monkeypatch.setattr(module, "leave_on_signals", lambda: None)

    assert main(["--fast", "--long"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_two_checks_run_at_a_time_and_each_failure_is_shown(checks, tmp_path, capsys):
    meet = (
        "import pathlib, sys, time; mine, other = map(pathlib.Path, sys.argv[1:]); mine.touch()\n"
        "while not other.exists(): time.sleep(0.01)"
    )
    first, second = str(tmp_path / "first"), str(tmp_path / "second")

    checks.check_together(
        {
            "first": [sys.executable, "-c", meet, first, second],
            "second": [sys.executable, "-c", meet, second, first],
            "third": [sys.executable, "-c", "print('line too long'); raise SystemExit(3)"],
        }
    )

    shown = capsys.readouterr().out
    assert shown.count("    ok (") == 2
    assert "==> third\nline too long\n    FAILED (" in shown
    assert checks.failed == ["third"]


def test_checks_that_are_interrupted_leave_no_process(checks, monkeypatch):
    processes = []
    begin = module.started

    def started(*given):
        running = begin(*given)
        processes.append(running.process)
        return running

    def interrupt(*_, **__):
        raise InterruptedError

    monkeypatch.setattr(module, "started", started)
    monkeypatch.setattr(Checks, "judge", interrupt)

    with pytest.raises(InterruptedError):
        checks.check_together(
            {
                "short": [sys.executable, "-c", "pass"],
                "for ever": [sys.executable, "-c", "import time; time.sleep(600)"],
            }
        )

    assert [process.wait(10) for process in processes] == [0, -signal.SIGKILL]
