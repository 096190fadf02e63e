"""A parser of outside input runs in a child that the kernel stops."""

import sys
import tempfile
import time

import pytest

from heartbeat_project.kernel.confined import Limits, Overrun, run_confined


@pytest.fixture
def parser(tmp_path):
    def write(source):
        path = tmp_path / "parser.py"
        path.write_text(source)
        return path

    return write


def test_what_the_parser_writes_is_returned(parser):
    upper = parser("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read().upper())")
    assert run_confined(upper, b"a" * 100_000) == b"A" * 100_000


def test_the_child_has_no_environment_and_nothing_of_the_project(parser, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "x")
    look = parser(
        "import os\ntry:\n    import heartbeat_project\n    print('found')\nexcept ImportError:\n    print(sorted(os.environ))"
    )
    seen = run_confined(look, b"")
    assert seen.startswith(b"['LANG'"), seen
    assert b"KEY" not in seen


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("while True: pass", "processor time"),
        ("import time\ntime.sleep(60)", "more than 1.5 seconds to read"),
        ("x = bytearray(1 << 30)", "memory"),
        ("x = []\nwhile True: x.append(bytes(1 << 20))", "memory"),
        ("import sys\nwhile True: sys.stdout.write('x' * 65536)", "KiB"),
        ("def f(n): f(n + 1)\nf(0)", "the parser failed"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "the parser failed"),
        ("raise SystemExit(3)", "the parser failed"),
    ],
)
def test_what_takes_too_much_is_stopped(parser, source, why):
    begun = time.monotonic()
    with pytest.raises(Overrun, match=why):
        run_confined(parser(source), b"", limits=Limits(cpu_seconds=1, seconds=1.5 if "sleep" in source else 20))
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("source", ["import no_such_package", "raise SystemExit(1)", "import time\ntime.sleep(60)"])
def test_a_parser_that_never_began_to_read_says_nothing_about_what_it_was_given(parser, source):
    with pytest.raises(OSError, match="did not begin to read"):
        run_confined(parser(source), b"x", limits=Limits(seconds=1.5 if "sleep" in source else 20))


def test_a_parser_that_fails_over_what_it_read_is_no_fault_of_the_machine(parser):
    with pytest.raises(Overrun, match="the parser failed"):
        run_confined(parser("import sys\nsys.stdin.read(1)\n1 / 0"), b"x")


@pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
def test_no_disk_is_needed(parser, monkeypatch):
    upper = parser("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read().upper())")
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    assert run_confined(upper, b"a") == b"A"
