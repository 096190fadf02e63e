"""What a person reads if a file or a folder cannot be used."""

import errno
import os

import pytest

from benchmarks import __main__ as benchmarks
from embedded import install, restore
from embedded import manage as embedded_manage
from embedded.disk_errors import explain
from embedded.process import EmbeddedError
from script import checks

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/secret_key.new")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Make room on its disk"),
        (errno.EDQUOT, "Make room for the account"),
        (errno.EACCES, "Run this as the account"),
        (errno.EPERM, "Run this as the account"),
        (errno.EROFS, "set HEARTBEAT_DATA_DIR"),
        (errno.ENOENT, "Put it back"),
        (errno.EISDIR, "Move it away"),
    ],
)
def test_it_says_which_file_what_is_wrong_and_what_to_do(number, remedy):
    text = explain(OSError(number, os.strerror(number), "/data/file"))

    assert text.startswith(f"/data/file: {os.strerror(number)}. ")
    assert remedy in text


def test_an_error_without_a_file_or_a_number_is_a_sentence_too():
    assert explain(OSError("odd")) == "odd."
    assert explain(OSError(errno.ESRCH, "No such process")) == "No such process."


@pytest.mark.parametrize("start", [embedded_manage, restore])
def test_a_full_disk_ends_a_command_with_a_sentence(start, monkeypatch, capsys):
    monkeypatch.setattr(start, "leave_on_signals", lambda: None)
    monkeypatch.setattr(start, "open_data_folder", failing_with(FULL))

    assert start.main(["check"]) == 1
    assert "No space left on device. Make room on its disk" in capsys.readouterr().err


def test_a_full_disk_ends_the_set_up_with_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(install, "one_at_a_time", failing_with(FULL))
    monkeypatch.setattr(install.signal, "signal", lambda *_: None)

    assert install.main(["requirements.txt"]) == 1
    assert capsys.readouterr().err.startswith("\nThe environment could not be set up. /data/secret_key.new: No space")


def test_a_full_disk_ends_the_checks_with_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(checks, "leave_on_signals", lambda: None)
    monkeypatch.setattr(checks, "embedded_servers", failing_with(FULL))

    assert checks.main([]) == 1
    assert capsys.readouterr().err.startswith("The checks could not be run. /data/secret_key.new: No space")


@pytest.mark.parametrize("error", [FULL, EmbeddedError("There is no embedded database.")])
def test_benchmarks_without_servers_end_with_a_sentence(error, monkeypatch, capsys):
    monkeypatch.setattr(benchmarks, "main", failing_with(error))

    assert benchmarks.run([]) == 1
    assert "Traceback" not in capsys.readouterr().err


def failing_with(error):
    def fail(*_, **__):
        raise error

    return fail
