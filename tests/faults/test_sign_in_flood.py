"""A flood of sign-ins against a real web process: pages and pings go on, memory stays, and whoever is known gets in."""

import contextlib
import http.client
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from integrations.models.history import Ping
from tests import factories
from tests.figures import record_figure
from tests.web_trial import Web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]
PASSWORD = "correct horse 12"
AT_ONCE = 60


@contextlib.contextmanager
def serving(folder, **env):
    web = Web(folder / "web.log", env=env)
    try:
        web.start()
        yield web
    finally:
        web.end()


@pytest.fixture
def web(tmp_path):
    with serving(tmp_path, HEARTBEAT_TRUSTED_PROXIES="127.0.0.1") as web:
        yield web


def at_once(tasks):
    """Run all tasks in threads of their own."""
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def ask(web, method, path, body=None, peer="127.0.0.1", **headers):
    """Return status, headers, how many seconds it took, and the text; `peer` is the address that is asked from."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30, source_address=(peer, 0))
    begun = time.monotonic()
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, answer.headers, time.monotonic() - begun, text
    finally:
        connection.close()


class Browser:
    """Somebody who signs in, from an address of their own or with what else a proxy says."""

    def __init__(self, web, address="", peer="127.0.0.1", **said):
        self.web, self.peer, self.said = web, peer, said or {"X-Forwarded-For": address}
        _, headers, *_ = ask(web, "GET", "/login/", peer=peer, **self.said)
        self.cookies = dict(self._cookies(headers))

    def _cookies(self, headers):
        return [line.partition(";")[0].split("=", 1) for line in headers.get_all("Set-Cookie") or []]

    def sign_in(self, password, email="ana@example.com"):
        page_token = self.cookies["heartbeat_csrf"]
        body = urlencode({"username": email, "password": password, "csrfmiddlewaretoken": page_token})
        found = ask(
            self.web,
            "POST",
            "/login/",
            body,
            self.peer,
            **{
                "Content-Type": "application/x-www-form-urlencoded",
                **self.said,
                "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            },
        )
        self.cookies |= dict(self._cookies(found[1]))
        return found


def memory(web):
    """Return the most memory that the process has had, in MiB."""
    lines = Path(f"/proc/{web.worker}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def test_sixty_sign_ins_at_once_keep_neither_pages_nor_pings_nor_people_out(web):
    ana = factories.UserFactory(name="Ana", email="ana@example.com", password=PASSWORD)
    backup = factories.HeartbeatFactory(organization=ana.organization)
    known = Browser(web, "198.51.100.1")
    assert known.sign_in(PASSWORD)[0] == 302
    known.cookies.pop("heartbeat_session")
    strangers = [Browser(web, f"203.0.113.{number}") for number in range(AT_ONCE)]
    before = memory(web)
    statuses = []

    def attack(stranger):
        status, _, _, text = stranger.sign_in("wrong")
        assert status == 200 or "Too many passwords are being checked" in text
        statuses.append(status)

    threads = [threading.Thread(target=attack, args=(stranger,)) for stranger in strangers]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    pages = [ask(web, "GET", "/login/") for _ in range(5)]
    ping = ask(web, "POST", f"/Heartbeat/{backup.token}", **{"X-Forwarded-For": "198.51.100.9", "User-Agent": "job"})
    sign_in = known.sign_in(PASSWORD)
    for thread in threads:
        thread.join(30)
    grown = memory(web) - before

    assert {status for status, *_ in pages} == {200}
    assert (ping[0], sign_in[0]) == (200, 302)
    assert len(statuses) == AT_ONCE
    assert statuses.count(200) > AT_ONCE / 2
    assert (Ping.objects.get().source_ip, Ping.objects.get().user_agent) == ("198.51.100.9", "job")
    slowest = max(seconds for _, _, seconds, _ in [*pages, ping, sign_in])
    flood = f"{AT_ONCE} sign-ins at once"
    record_figure(flood, "pages, pings and a known browser's sign-in are answered", slowest, unit="s", at_most=5)
    record_figure(flood, "the web process grows", grown, unit="MiB", at_most=150)


def test_one_address_is_refused_at_once_and_costs_nothing(web):
    factories.UserFactory(name="Ana", email="ana@example.com", password=PASSWORD)
    stranger = Browser(web, "203.0.113.1")
    statuses = []

    def attack(number):
        statuses.append(stranger.sign_in("wrong", email=f"user{number}@example.com")[0])

    threads = [threading.Thread(target=attack, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    # On a slow machine the last get no turn in time (503), and count as no try.
    assert statuses.count(200) <= 20
    assert set(statuses) <= {200, 429, 503}
    for number in range(20 - statuses.count(200)):
        assert stranger.sign_in("wrong", email=f"more{number}@example.com")[0] == 200
    assert stranger.sign_in(PASSWORD)[0] == 429
    assert Browser(web, "203.0.113.2").sign_in(PASSWORD)[0] == 302


def test_forty_people_of_one_office_sign_in_at_the_same_moment(web):
    people = [factories.UserFactory(email=f"user{n}@example.com", password=PASSWORD) for n in range(40)]
    browsers = {person.email: Browser(web, "203.0.113.1") for person in people}
    answers = []

    def sign_in(email):
        answer = browsers[email].sign_in(PASSWORD, email=email)
        while answer[0] == 503:  # a slow machine; nobody is informed that they tried too often
            answer = browsers[email].sign_in(PASSWORD, email=email)
        answers.append(answer)

    at_once([lambda email=email: sign_in(email) for email in browsers])

    assert [status for status, *_ in answers] == [302] * 40
    slowest = max(seconds for _, _, seconds, _ in answers)
    record_figure("40 sign-ins at once from one address", "the last one is signed in", slowest, unit="s", at_most=20)


@pytest.mark.parametrize(
    ("said", "env"),
    [
        ({"X-Forwarded-Proto": "http"}, {}),
        ({"X-Forwarded-For": "172.18.0.1"}, {}),
        ({"User-Agent": "one"}, {"HEARTBEAT_BASE_URL": "http://beat.example.org"}),
    ],
    ids=["no address", "a gateway", "no header"],
)
def test_behind_a_proxy_that_is_not_named_a_stranger_keeps_nobody_out(tmp_path, said, env):
    """The person on call has a new phone at 3 a.m.; to us both come from the proxy."""
    factories.UserFactory(name="Ana", email="ana@example.com", password=PASSWORD)
    with serving(tmp_path, **env) as web:
        strangers = [Browser(web, **said) for _ in range(AT_ONCE)]
        ana = Browser(web, **said)
        statuses, during = [], []

        def attack(number):
            for attempt in range(2):
                wrong = strangers[number].sign_in("wrong", email=f"user{number}-{attempt}@example.com")
                statuses.append(wrong[0])

        def sign_in():
            time.sleep(0.2)
            during.append(ana.sign_in(PASSWORD))

        at_once([*(lambda number=number: attack(number) for number in range(AT_ONCE)), sign_in])

        # More are judged than from one address, and nobody is refused. On a slow machine few of the burst get a turn.
        more = range(21 - statuses.count(200))
        statuses += [strangers[0].sign_in("wrong", email=f"more{number}@example.com")[0] for number in more]
        assert statuses.count(200) > 20
        assert set(statuses) <= {200, 503}
        assert during[0][0] in {302, 503}  # on a slow machine no turn may come in time
        assert Browser(web, **said).sign_in(PASSWORD)[0] == 302
    assert "HEARTBEAT_TRUSTED_PROXIES" in (tmp_path / "web.log").read_text()


def test_made_up_senders_keep_nobody_out_who_comes_some_other_way(tmp_path):
    """Each try claims another address; all of them stand in the queue as the one peer that sends them."""
    factories.UserFactory(name="Ana", email="ana@example.com", password=PASSWORD)
    with serving(tmp_path) as web:
        forgers = [Browser(web, f"9.9.{number // 250}.{number % 250}") for number in range(230)]
        ana = Browser(web, peer="127.0.0.2", **{"User-Agent": "phone"})
        statuses, signed_in = [], []

        def attack(number):
            statuses.append(forgers[number].sign_in("wrong", email=f"user{number}@example.com")[0])

        def sign_in():
            time.sleep(0.5)
            signed_in.append(ana.sign_in(PASSWORD))

        at_once([*(lambda number=number: attack(number) for number in range(230)), sign_in])

        assert set(statuses) <= {200, 503}
        assert signed_in[0][0] == 302
        record_figure("230 made-up senders at once", "another is signed in", signed_in[0][2], unit="s", at_most=15)
