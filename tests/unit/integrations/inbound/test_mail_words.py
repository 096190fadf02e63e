"""What subjects and first lines say by themselves, and which of them are about the same."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.inbound.event import Action
from integrations.inbound.mail_words import action_of, subject_key

PAIRS = [
    ("PROBLEM: web1 is DOWN", "RECOVERY: web1 is UP"),
    ("** PROBLEM Service Alert: web1/HTTP is CRITICAL **", "** RECOVERY Service Alert: web1/HTTP is OK **"),
    ("Problem: High CPU on db1", "Resolved in 5m 12s: High CPU on db1"),
    ("[FIRING:2] HighLoad (web1)", "[RESOLVED] HighLoad (web1)"),
    ("DOWN alert: web1 (10.0.0.1) is DOWN", "UP alert: web1 (10.0.0.1) is UP"),
    ("Monitor is DOWN: web1", "Monitor is UP: web1"),
    ('ALARM: "cpu" in EU (Ireland)', 'OK: "cpu" in EU (Ireland)'),
    ("[web1] [🔴 Down]", "[web1] [✅ Up]"),
    ("Check_MK: web1/CPU OK -> CRIT", "Check_MK: web1/CPU CRIT -> OK"),
    ("Backup of db1 failed 2026-11-27 03:00:01 UTC", "Re: Backup of db1 completed (Fri, 27 Nov 2026 at 04:10)"),
    ("AW: Fwd: Disk: warning", "Disk: cleared"),
    ("PROBLEM: web1 is WARNING", "RECOVERY: web1 is OK"),
]


@pytest.mark.parametrize(("problem", "recovery"), PAIRS)
def test_a_problem_and_its_recovery_are_about_the_same(problem, recovery):
    assert action_of(problem, "", {}) is Action.OPEN
    assert action_of(recovery, "", {}) is Action.CLOSE
    assert subject_key(problem, {}) == subject_key(recovery, {}) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("web1 is down", "web2 is down"),
        ("10.0.0.1:22 is down", "10.0.0.1:25 is down"),
        ("[web1] disk full", "[web2] disk full"),
        ("slot 10:22 failed", "slot 10:23 failed"),
        ("volume 10.10.20 failed", "volume 10.10.21 failed"),
        ("a/b is down", "a/c is down"),
    ],
)
def test_numbers_and_places_stay_in_the_key(one, other):
    assert subject_key(one, {}) != subject_key(other, {})


def test_a_list_tag_is_taken_out_only_if_the_list_says_that_it_is_one():
    assert subject_key("[ops] Re: disk full", {}, lists=["ops"]) == "disk full"
    assert subject_key("[ops] disk full", {}) == "ops disk full"


@pytest.mark.parametrize(
    ("subject", "text", "action"),
    [
        ("1 Successful Backup, 1 Failed Copy", "", "open"),
        ("Disk space on db1", "", "open"),
        ("Follow up: disk is filling up", "", "open"),
        ("Set up of db1", "it took long", "open"),
        ("web1", "\n\nState: OK\n", "close"),
        ("web1", "Back up the data.\nThe disk is filling.", "open"),
        ("web1", "RECOVERY\nState: critical", "open"),
        ("web1", "1\n2\n3\n4\n5\nState: OK", "open"),
        ("Disk space", "web1 is ok", "close"),
        ("ACKNOWLEDGEMENT: web1 is CRITICAL", "", "acknowledge"),
        ("unacknowledged problem", "", "open"),
        ("errors: 3", "", "open"),
        ("looked okay, upside", "", "open"),
        ("", "", "open"),
    ],
)
def test_words_decide_in_the_subject_then_in_the_first_five_lines(subject, text, action):
    assert action_of(subject, text, {}) == action


def test_words_of_the_integration_replace_those_that_are_built_in_but_never_those_that_open():
    words = {"close": ["fertig", "error cleared"], "ignore": ["weekly report"], "acknowledge": ["taken by"]}
    assert action_of("Sicherung FERTIG", "", words) is Action.CLOSE
    assert action_of("web1 is up", "", words) is Action.OPEN
    assert action_of("error cleared on web1", "", words) is Action.CLOSE
    assert action_of("error cleared, new failure", "", words) is Action.OPEN
    assert action_of("Weekly report: 3 errors", "", words) is Action.IGNORE
    assert action_of("Error taken by Ana", "", words) is Action.ACKNOWLEDGE


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_subject_has_an_action_and_a_key(subject, text):
    assert action_of(subject, text, {}) in Action
    key = subject_key(subject, {})
    assert key == key.strip()


@pytest.mark.parametrize(
    "part", ["a ", "1.", "[[", "jan 1 ", ": : ", "- ", "in 1m ", "re:", "-> ", "2026-11-27 ", "12:00:"]
)
def test_no_subject_takes_long(part):
    subject = part * (100_000 // len(part))
    started = time.process_time()
    action_of(subject, subject, {})
    subject_key(subject, {})
    assert time.process_time() - started < 0.3
