"""What names of encodings cost that nobody knows."""

import subprocess
import sys

ASKED = """
import codecs, encodings
{begin}
def is_known(name):
    try:
        return bool(codecs.lookup(name))
    except LookupError:
        return False
known = all(map(is_known, ("utf-8", "UTF8", "latin-1", "windows-1252", "idna", "iso2022_jp_2004", "mac-centeuro")))
before = len(encodings._cache)
unknown = any(map(is_known, [*map("nonsense-{{}}".format, range(100)), "x" * 60_000]))
print(known, unknown, len(encodings._cache) - before)
"""
BEGIN = "from heartbeat_project.kernel.encodings import keep_no_unknown_names; keep_no_unknown_names()"


def asked(begin):
    done = subprocess.run([sys.executable, "-c", ASKED.format(begin=begin)], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_python_keeps_each_name_that_it_was_asked_for():
    assert asked("") == ["True", "False", "101"]


def test_a_web_process_keeps_none_and_knows_the_same():
    assert asked(BEGIN) == ["True", "False", "0"]


def test_the_web_process_is_informed():
    program = "import heartbeat_project.asgi"
    assert asked(program)[1:] == ["False", "0"]
