"""The supervisor looks at the web server, and mails the operator when it says, or its silence says, that work stops."""

import http.server
import json
import os
import threading
from pathlib import Path

import pytest

from embedded import lookout as module
from embedded.folders import DataFolder
from embedded.lookout import Lookout, open_state
from embedded.options import Options
from embedded.process import EmbeddedError, current_account
from heartbeat_project.operator_mail import SIZE, FileStore, MemoryStore
from tests.processes import PostOffice, free_port

NOON = 1_772_452_800.0
READY = {"checks": {"database": {"ok": True}}, "standstill": ""}
AWAY = {"checks": {"database": {"ok": False, "detail": "connection refused"}}, "standstill": ""}
STUCK = {"checks": {"database": {"ok": True}}, "standstill": "No deadline is judged. No engine worker works."}


@pytest.fixture
def post():
    with PostOffice() as office:
        yield office


@pytest.fixture
def web():
    """A web server whose `/readyz` answers as `answer` says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.path == "/readyz"
            assert self.headers["Host"] == "heartbeat.example.org"
            body = (
                self.server.answer if isinstance(self.server.answer, bytes) else json.dumps(self.server.answer).encode()
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answer = READY
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def time_passes(monkeypatch):
    at = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])

    def pass_(by: float) -> None:
        at[0] += by

    return pass_


def looking(post, *, port, crashes="", store=None):
    options = Options(
        data=Path("/nowhere"),
        host="127.0.0.1",
        port=port,
        base_url="http://heartbeat.example.org",
        database_url="",
        redis_url="",
        secret_key="",
        demo=False,
        release=False,
        from_file={},
    )
    settings = {"EMAIL_URL": post.url, "HEARTBEAT_OPERATOR_EMAIL": "ops@example.com"}
    return Lookout(options, store or MemoryStore(), settings, crashes=lambda: crashes)


def look_on(lookout, time_passes, *, for_=140):
    for second in range(0, for_, 10):
        lookout.look(now=NOON + second)
        time_passes(10)


def test_while_the_web_server_says_that_all_is_well_nobody_is_mailed(web, post, time_passes):
    look_on(looking(post, port=web.server_address[1]), time_passes)
    assert post.messages == []


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (AWAY, "The web server cannot receive pings: connection refused."),
        (STUCK, "No deadline is judged. No engine worker works."),
        (b"<html>", "The web server does not answer (JSONDecodeError"),
        (b"[]", "The web server does not answer (TypeError"),
    ],
)
def test_what_stands_still_is_mailed_and_its_end(web, post, time_passes, answer, sentence):
    lookout = looking(post, port=web.server_address[1])
    web.answer = answer
    look_on(lookout, time_passes)
    (begun,) = post.messages
    assert sentence in begun.get_content()
    assert begun["From"] == "Heartbeat <heartbeat@heartbeat.example.org>"
    web.answer = READY
    lookout.look(now=NOON + 300)
    assert [message["Subject"] for message in post.messages][1:] == ["Heartbeat works again"]
    assert len(list(lookout.lines())) == 2


def test_a_web_server_that_does_not_answer_is_mailed_with_what_crashes(post, time_passes):
    crashes = "web has ended 5 times in a row; its last line: Address already in use"
    look_on(looking(post, port=free_port(), crashes=crashes), time_passes)
    said = post.messages[0].get_content()
    assert "The web server does not answer (ConnectionRefusedError" in said
    assert "its last line: Address already in use" in said


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_limit_that_cannot_be_meant_is_explained(text):
    with pytest.raises(EmbeddedError, match="HEARTBEAT_STANDSTILL_SECONDS must be a number"):
        module._limit(text)


class Shown:
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_the_file_is_there_from_the_start_and_belongs_to_the_account(tmp_path):
    store = open_state(DataFolder(path=tmp_path, account=current_account()), Shown())
    assert isinstance(store, FileStore)
    status = (tmp_path / "operator-mail").stat()
    assert (status.st_size, status.st_mode & 0o777, status.st_uid) == (SIZE, 0o600, os.geteuid())


def test_without_the_file_the_supervisor_goes_on_by_itself_and_says_so(tmp_path):
    (tmp_path / "operator-mail").mkdir()
    console = Shown()
    assert isinstance(open_state(DataFolder(path=tmp_path, account=current_account()), console), MemoryStore)
    assert "only the supervisor mails the operator" in console.lines[0]
