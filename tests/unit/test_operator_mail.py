"""Mail to the operator without a database: one for an incident, one an hour, one when it is over; never a flood."""

import os
import smtplib
import socket
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from heartbeat_project import operator_mail as module
from heartbeat_project.operator_mail import (
    SIZE,
    FileStore,
    MailServer,
    MemoryStore,
    OperatorMail,
    Standstill,
    State,
    open_store,
)
from tests.processes import PostOffice, free_port

NOON = 1_772_452_800.0
MINUTE, HOUR = 60.0, 3600.0


@pytest.fixture
def post():
    with PostOffice() as office:
        yield office


@pytest.fixture
def said():
    return []


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "operator-mail")


@pytest.fixture
def mail(post, store, said):
    return mailing(store, said, url=post.url)


def mailing(store, said, *, url, address="ops@example.com", **more):
    return OperatorMail(
        store,
        server=MailServer.from_url(url),
        sender="Heartbeat <heartbeat@example.org>",
        base_url="https://heartbeat.example.org",
        say=said.append,
        address=address,
        **more,
    )


def subjects(post):
    return [message["Subject"].split(":")[0] for message in post.messages]


BEGAN, OVER = "Heartbeat stands still", "Heartbeat works again"


def test_an_incident_is_mailed_once_and_its_end_once(mail, post):
    for minute in range(10):
        mail.report("The database is away.", lasted=130, now=NOON + minute * MINUTE)
    for minute in range(10, 20):
        mail.report("", lasted=0, now=NOON + minute * MINUTE)
    assert subjects(post) == [BEGAN, OVER]
    begun, over = (message.get_content().replace("\r\n", "\n") for message in post.messages)
    assert "The database is away." in begun
    assert "has not worked since 2026-03-02 11:57 UTC" in begun
    assert "https://heartbeat.example.org/readyz" in begun
    assert "from 2026-03-02 11:57 UTC until about 2026-03-02 12:10 UTC:\nThe database is away." in over
    assert {message["To"] for message in post.messages} == {"ops@example.com"}
    assert post.messages[0]["Auto-Submitted"] == "auto-generated"


def test_at_most_one_incident_is_mailed_in_an_hour_and_a_long_one_after_it(mail, post):
    mail.report("One.", lasted=120, now=NOON)
    mail.report("", lasted=0, now=NOON + 5 * MINUTE)
    for minute in range(10, 120):
        mail.report("Two.", lasted=(minute - 8) * MINUTE, now=NOON + minute * MINUTE)
    assert subjects(post) == [BEGAN, OVER, BEGAN]
    assert "since 2026-03-02 12:08 UTC" in post.messages[2].get_content()


def test_an_incident_that_was_not_mailed_has_no_mail_when_it_is_over(mail, post):
    mail.report("One.", lasted=120, now=NOON)
    mail.report("", lasted=0, now=NOON + 5 * MINUTE)
    mail.report("Two.", lasted=120, now=NOON + 10 * MINUTE)
    mail.report("", lasted=0, now=NOON + 20 * MINUTE)
    assert subjects(post) == [BEGAN, OVER]


def test_a_process_that_is_started_again_and_again_mails_no_more(tmp_path, post, said):
    for number in range(30):
        again = mailing(FileStore(tmp_path / "operator-mail"), said, url=post.url)
        again.report("The database is away.", lasted=120, now=NOON + number * MINUTE)
    assert subjects(post) == [BEGAN]


def _report(path, url, begin):
    begin.wait()
    mailing(FileStore(Path(path)), [], url=url).report("The database is away.", lasted=120, now=NOON)


def test_of_several_processes_one_mails(tmp_path, post):
    path, fork = tmp_path / "operator-mail", get_context("fork")
    FileStore(path)
    begin = fork.Event()
    processes = [fork.Process(target=_report, args=(path, post.url, begin)) for _ in range(4)]
    for process in processes:
        process.start()
    begin.set()
    for process in processes:
        process.join(30)
    assert subjects(post) == [BEGAN]


def test_while_one_process_sends_another_leaves_it_to_that_one(tmp_path, post, said):
    sending, other = FileStore(tmp_path / "operator-mail"), FileStore(tmp_path / "operator-mail")
    with sending.held():
        mailing(other, said, url=post.url).report("The disk is full.", lasted=120, now=NOON)
    assert (post.messages, said) == ([], [])
    mailing(other, said, url=post.url).report("The disk is full.", lasted=120, now=NOON)
    assert subjects(post) == [BEGAN]


def test_what_is_not_taken_is_tried_again_each_minute_and_said(mail, post, said):
    post.refusal = "451 try again"
    for second in range(0, 150, 10):
        mail.report("The disk is full.", lasted=120, now=NOON + second)
    assert post.messages == []
    assert len(said) == 1
    assert "451" in said[0]
    post.refusal = ""
    mail.report("The disk is full.", lasted=300, now=NOON + 190)
    assert subjects(post) == [BEGAN]


def test_a_server_that_is_away_is_tried_for_as_long_as_it_takes(store, said, post):
    away = mailing(store, said, url=f"smtp://127.0.0.1:{free_port()}")
    for minute in range(10):
        away.report("The disk is full.", lasted=120, now=NOON + minute * MINUTE)
    mailing(store, said, url=post.url).report("The disk is full.", lasted=120, now=NOON + 10 * MINUTE)
    assert subjects(post) == [BEGAN]


def test_a_server_that_drips_is_given_up_in_time_and_holds_nothing_up(store, said, monkeypatch):
    monkeypatch.setattr(module, "SEND_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        mail = mailing(store, said, url=f"smtp://127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=_drip, args=(server,), daemon=True).start()
        started = time.monotonic()
        mail.report("The disk is full.", lasted=120, now=NOON)
        assert time.monotonic() - started < 5
        assert "no answer within 0.5 s" in said[0]
        assert store.read() == State(tried_at=NOON)


def _drip(server):
    connection, _ = server.accept()
    with connection:
        try:
            while True:
                connection.sendall(b"2")
                threading.Event().wait(0.05)
        except OSError:
            pass


def test_what_may_have_arrived_is_sent_three_times_at_most(mail, post, monkeypatch):
    """The server takes it and falls silent, or the process dies before it has noted that: nobody knows."""

    def lose_the_answer(connection, message):
        send(connection, message)
        raise smtplib.SMTPServerDisconnected("gone")

    send = smtplib.SMTP.send_message
    monkeypatch.setattr(smtplib.SMTP, "send_message", lose_the_answer)
    for minute in range(30):
        mail.report("The disk is full.", lasted=120, now=NOON + minute * MINUTE)
    assert subjects(post) == [BEGAN] * module.MAX_TRIES


def test_a_full_disk_does_not_stop_it_for_the_file_does_not_grow(tmp_path, post, said):
    path = tmp_path / "operator-mail"
    store = FileStore(path)
    assert path.stat().st_size == SIZE
    mail = mailing(store, said, url=post.url)
    mail.keep_address("someone@example.com")
    mail.report("Ä😀\x01" * 1000, lasted=120, now=NOON)
    assert path.stat().st_size == SIZE
    assert FileStore(path).read().incident.startswith("Ä😀\x01")
    assert FileStore(path).read().address == "someone@example.com"
    assert subjects(post) == [BEGAN]


def test_a_file_that_cannot_be_written_keeps_all_but_the_supervisor_from_mailing(store, post, said, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    worker = mailing(store, said, url=post.url)
    worker.report("The disk is full.", lasted=120, now=NOON)
    assert post.messages == []
    supervisor = mailing(store, said, url=post.url, in_memory_instead=True)
    for minute in range(10):
        supervisor.report("The disk is full.", lasted=120, now=NOON + minute * MINUTE)
    supervisor.report("", lasted=0, now=NOON + 10 * MINUTE)
    assert subjects(post) == [BEGAN, OVER]


def test_a_file_that_holds_nonsense_counts_as_nothing_known(tmp_path):
    path = tmp_path / "operator-mail"
    for nonsense in (b"", b"{", b"[]", b"null", b'{"mailed_at": "x"}', b'{"tries": []}', b"\xff" * SIZE, b"{}" * SIZE):
        path.write_bytes(nonsense)
        assert FileStore(path).read() == State()


def test_no_link_in_its_place_is_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "operator-mail").symlink_to(tmp_path / "elsewhere")
    assert open_store(tmp_path) is None
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_without_a_mail_server_or_an_address_a_line_a_minute_says_so(store, said, monkeypatch):
    at = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])
    deaf, nameless = mailing(store, said, url=""), mailing(store, said, url="smtp://127.0.0.1:1", address="")
    for second in range(0, 120, 10):
        at[0] = float(second)
        deaf.report("The disk is full.", lasted=120, now=NOON + second)
    assert len(said) == 2
    assert "EMAIL_URL is not set" in said[0]
    nameless.report("The disk is full.", lasted=120, now=NOON)
    assert "no address is known" in said[2]


def test_the_address_is_known_to_all_processes(store, post, said):
    mailing(store, said, url=post.url).keep_address("olga@example.com")
    mailing(store, said, url=post.url, address="").report("The database is away.", lasted=120, now=NOON)
    assert post.to("olga@example.com")


def test_a_clock_that_was_set_back_keeps_nobody_from_being_mailed(store, mail, post):
    store.write(State(mailed_at=NOON + 2 * HOUR, tried_at=NOON + 2 * HOUR))
    mail.report("The disk is full.", lasted=120, now=NOON)
    assert subjects(post) == [BEGAN]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("", None),
        ("consolemail://", None),
        ("smtp://host:nonsense", None),
        ("smtp://host", MailServer("host", 25)),
        ("smtp://me%40x:p%2Fw@host:2525", MailServer("host", 2525, "me@x", "p/w")),
        ("smtp+tls://host:587", MailServer("host", 587, security="starttls")),
        ("smtps://host:587", MailServer("host", 587, security="starttls")),
        ("smtp+ssl://host:465", MailServer("host", 465, security="tls")),
        ("smtp+tls://host", MailServer("host", 587, security="starttls")),
        ("smtp+ssl://host", MailServer("host", 465, security="tls")),
        ("smtp://host?EMAIL_USE_TLS=True", MailServer("host", 25, security="starttls")),
        ("smtp://host?email_use_ssl=1&EMAIL_USE_TLS=false", MailServer("host", 25, security="tls")),
    ],
)
def test_the_mail_server_is_read_as_everywhere_else(url, server):
    assert MailServer.from_url(url) == server


class TestStandstill:
    def looks(self, *seen, limit=120.0, every=10.0):
        standstill = Standstill(limit=limit, every=every)
        return [standstill.note(trouble, at=at) for at, trouble in seen]

    def test_it_has_lasted_when_each_look_saw_it(self):
        assert self.looks(*[(at, "x") for at in range(0, 140, 10)]) == [False] * 12 + [True, True]

    def test_a_look_at_which_all_is_well_begins_it_anew(self):
        seen = [(at, "" if at == 110 else "x") for at in range(0, 240, 10)]
        assert not any(self.looks(*seen)[:24])

    def test_time_in_which_nobody_looked_does_not_count(self):
        """A process that was stopped, a machine that slept: a restart mails nobody."""
        assert self.looks((0, "x"), (100_000, "x"), (100_010, "x")) == [False] * 3

    def test_one_look_is_not_enough(self):
        assert self.looks((100_000, "x"), limit=1.0) == [False]


def test_without_a_folder_there_is_no_shared_state(tmp_path):
    assert open_store(None) is None
    assert open_store(tmp_path / "missing") is None
    assert isinstance(open_store(tmp_path / "missing", fallback=tmp_path), FileStore)
    assert MemoryStore().read() == State()
