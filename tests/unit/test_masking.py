"""What the log and the terminal are shown: no secret by where it stands, no character that a terminal obeys."""

import io
import json
import logging
import logging.config
import os

import pytest

from embedded.console import Console, Follower
from heartbeat_project.logs import logging_config
from heartbeat_project.masking import escaped, masked, masked_path

TOKEN = "Zk3-abcDEF_0123456789abcdefghijk"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (f"/Heartbeat/{TOKEN}", "/Heartbeat/***"),
        (f"/Heartbeat//{TOKEN}", "/Heartbeat//***"),
        (f"/heartbeat///{TOKEN}/", "/heartbeat///***/"),
        (f"//HEARTBEAT/{TOKEN}", "//HEARTBEAT/***"),
        (f"/Heartbeat/backup/{TOKEN}", "/Heartbeat/***/***"),
        (f"/Heartbeat/ {TOKEN}", "/Heartbeat/***"),
        ("/Heartbeat/short", "/Heartbeat/***"),
        (f"/x/Heartbeat/{TOKEN}", "/x/Heartbeat/***"),
        (f"/r/{TOKEN}/12", "/r/***/12"),
        (f"/r//{TOKEN}", "/r//***"),
        (f"/calendar//{TOKEN}.ics", "/calendar//***"),
        (f"/api/v1/responses/twilio/voice//{TOKEN}/", "/api/v1/responses/twilio/voice//***/"),
        (f"/POSTAlert/{TOKEN}/source", "/POSTAlert/***/***"),
        ("/alerts/12/assign/", "/alerts/12/assign/"),
        ("/api/v1/escalation-policies/7/", "/api/v1/escalation-policies/7/"),
        ("/api/v1/users/me/calendar/", "/api/v1/users/me/calendar/"),
    ],
)
def test_a_secret_in_a_path_is_masked_by_where_it_stands(path, shown):
    assert masked_path(path) == shown


def test_at_an_address_that_is_not_ours_whatever_is_no_word_is_masked():
    assert masked_path(f"/Hearbeat/{TOKEN}", is_known=False) == "/Hearbeat/***"
    assert masked_path(f"/{TOKEN}", is_known=False) == "/***"
    assert masked_path("/api/v1/maintenance-windoes/12/", is_known=False) == "/api/v1/maintenance-windoes/12/"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Not Found: /Heartbeat//{TOKEN}", "Not Found: /Heartbeat//***"),
        (f"POST https://x.example/heartbeat%2F{TOKEN} failed", "POST https://x.example/heartbeat%2F*** failed"),
        (f"Internal Server Error: /r/{TOKEN}/12?do=assign", "Internal Server Error: /r/***/12?do=assign"),
        (f"GET /login/?next=%2Fr%2F{TOKEN}%2F12", "GET /login/?next=%2Fr%2F***/12"),
        ("the key hb_0123456789abcdef is wrong", "the key *** is wrong"),
        ("[Errno 13] /var/lib/heartbeat/operator-mails.new", "[Errno 13] /var/lib/heartbeat/operator-mails.new"),
        ('  File "/opt/heartbeat/v1.2/x.py", line 3', '  File "/opt/heartbeat/v1.2/x.py", line 3'),
    ],
)
def test_a_secret_in_a_text_is_masked(text, shown):
    assert masked(text) == shown


def test_what_a_terminal_would_obey_is_escaped():
    nasty = "a\x1b[31m\x07\r\x9b\x7f\u202e\u2028\x85b\ud800é"

    assert escaped(nasty) == r"a\x1b[31m\x07\r\x9b\x7f\u202e\u2028\x85b\ud800é"
    assert escaped("plain, é, 日本") == "plain, é, 日本"


@pytest.fixture
def logged(monkeypatch):
    """Return a function that logs, and what was written then, as text or as JSON."""

    def write(*, json: bool, message: str, error: Exception | None = None, **extra: object) -> str:
        stream = io.StringIO()
        monkeypatch.setattr("sys.stdout", stream)
        state = logging.root.handlers[:], logging.root.level
        try:
            logging_config(level="INFO", json=json)
            record = (type(error), error, None) if error else None
            logging.getLogger("django.request").error("%s", message, exc_info=record, extra=extra)
        finally:
            logging.root.handlers[:], logging.root.level = state
        return stream.getvalue()

    return write


@pytest.mark.parametrize("as_json", [False, True])
def test_no_control_character_and_no_line_of_a_strangers_reaches_the_log(logged, as_json):
    nasty = f"/x\x1b]0;y\x07\r\n2026-01-01 [info] forged\x7f\u202e /Heartbeat//{TOKEN}"

    said = logged(json=as_json, message=nasty, error=ValueError(nasty), path=nasty, method="P\x1bST")

    assert TOKEN not in said
    assert all(one.isprintable() or one == "\n" for one in said)
    assert not [line for line in said.splitlines() if line.startswith("2026-01-01")]
    assert "forged" in said
    if as_json:
        [line] = said.splitlines()
        assert json.loads(line)["method"] == "P\x1bST"


def test_what_children_write_reaches_the_terminal_escaped():
    shown: list[str] = []
    follower = Follower(shown.append)
    os.write(follower.writer, b'ERROR:  "\x1b[2J\xc2\x9b\r\xe2\x80\xae" \ttab\xff\n')
    follower.close()
    reader, writer = os.pipe()
    Console(writer).say("a\x1b[2Jb\nc\x85d", source="database")
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        lines = said.read().decode()

    assert shown[0].isprintable()
    assert r"\x1b[2J\x9b\r\u202e" in shown[0]
    assert lines == " database | a\\x1b[2Jb\n database | c\\x85d\n"
