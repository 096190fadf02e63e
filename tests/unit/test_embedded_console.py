"""The supervisor's output, which no reader may hold up."""

import contextlib
import os

import pytest

from embedded.console import MAX_WAITING, Console, Follower


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_each_line_names_who_said_it(pipe):
    reader, writer = pipe

    Console(writer).say("one\ntwo", source="web")

    assert os.read(reader, 1000) == b"      web | one\n      web | two\n"


def test_a_reader_that_pauses_stops_nothing_and_gets_the_newest_lines(pipe):
    reader, writer = pipe
    console = Console(writer)

    for number in range(MAX_WAITING * 3):
        console.say(f"line {number} " + "." * 100)

    os.set_blocking(reader, False)
    read = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            read += os.read(reader, 65536)
            console.flush()
    assert read.startswith(b"heartbeat | line 0 ")
    assert f"line {MAX_WAITING * 3 - 1} ".encode() in read
    assert read.count(b"\n") < MAX_WAITING * 2


def test_a_terminal_that_is_gone_stops_nothing():
    reader, writer = os.pipe()
    os.close(reader)

    Console(writer).say("anybody there?")

    os.close(writer)


def test_a_follower_gives_whole_lines_and_remembers_them():
    lines: list[str] = []
    follower = Follower(lines.append)

    os.write(follower.writer, b"first\nsec")
    follower.pump()
    assert lines == ["first"]
    os.write(follower.writer, b"ond \xff\nlast")
    assert follower.tail() == "first\nsecond \ufffd\nlast"
    follower.close()

    assert lines == ["first", "second \ufffd", "last"]


def test_a_line_without_end_does_not_fill_the_memory():
    lines: list[str] = []
    follower = Follower(lines.append)

    for _ in range(3):
        os.write(follower.writer, b"x" * 60_000)
        follower.pump()
    follower.close()

    assert sum(map(len, lines)) == 180_000
    assert len(lines) >= 2
