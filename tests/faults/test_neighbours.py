"""One organization attacks, and its neighbour's pings and pages go on.

Each attack of docs/security.md on real processes.
"""

import http.server
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from itertools import count, cycle
from typing import Any

import httpx
import pytest
from celery import Celery

from embedded import valkey
from embedded.folders import open_data_folder
from escalation.channels.signatures import twilio_signature
from escalation.oncall.shifts import MAX_GROUP_SHIFTS
from heartbeat_project.kernel.weekly import DAYS
from heartbeat_project.schedule import PERIODIC
from integrations.inbound.mails import SHARE_BYTES
from tests.factories.full_rotas import fill
from tests.faults.costly_events import costly, flood
from tests.figures import record_figure
from tests.processes import PostOffice, Stack, running_stack, until

pytestmark = [pytest.mark.serial, pytest.mark.timeout(600)]

MORE_PING, MORE_PAGE = 1.0, 5.0  # seconds, as docs/security.md promises
INTERVAL = 6.0
MAIL_SECRET, TWILIO_TOKEN = "secret-of-the-mail-server", "token-of-twilio"
OPEN_FILES, KEPT_FREE = 1_024, 300  # of the web server: more than it needs for itself
NAME = "a" * 90
REFUSED = 60.0  # counts as so many seconds
TURNS = 10_000  # of the calendars of one group


Input = dict[str, Any]  # of httpx.Client.request
Attack = Callable[[threading.Event], object]  # goes on until the event is set


class Office(PostOffice):
    """Notes when each mail came, in seconds of time.monotonic()."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[tuple[str, float]] = []

    async def handle_DATA(self, server, session, message_id):  # noqa: N802 - the name aiosmtpd looks for
        at = time.monotonic()
        answer = await super().handle_DATA(server, session, message_id)
        if re.search(r"silent|\d alerts:", str(self.messages[-1]["Subject"])):
            self.came += [(address, at) for address in message_id.rcpt_tos]
        return answer

    def first(self, address: str) -> float | None:
        return next((at for to, at in list(self.came) if to == address), None)


class Calendars(http.server.ThreadingHTTPServer):
    """Serves calendars that never end, or nearly so, at /0, /1, ..."""

    daemon_threads = True

    def __init__(self) -> None:
        server = self
        self.asked = 0
        head = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x\r\n"
        event = "BEGIN:VEVENT\r\nUID:{}\r\nSUMMARY:Owner\r\nDTSTART:20260101T000000Z\r\nDTEND:20260101T010000Z\r\n"
        days = ",".join(f"{2000 + n // 336}{n // 28 % 12 + 1:02}{n % 28 + 1:02}T000000Z" for n in range(30_000))
        bodies = [
            event.format(1) + "RRULE:FREQ=DAILY;INTERVAL=0;BYMONTH=2;BYMONTHDAY=30\r\nEND:VEVENT\r\n",
            event.format(2)
            + f"RRULE:FREQ=DAILY;COUNT=2\r\nRDATE:{days}\r\n"
            + f"RDATE:{days}\r\n" * 3
            + "END:VEVENT\r\n",
            "BEGIN:VEVENT\r\nEND:VEVENT\r\n" * 70_000,
            event.format(3) + "RRULE:FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30\r\nEND:VEVENT\r\n",
        ]
        self.calendars = [(head + body + "END:VCALENDAR\r\n").encode() for body in bodies]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                body = server.calendars[int(self.path[1:]) % len(server.calendars)]
                self.send_response(200)
                self.send_header("Content-Type", "text/calendar")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@dataclass
class Attacker:
    """Another organization of the same installation: its Owner's key, and their session in a browser."""

    stack: Stack
    key: str
    browser: httpx.Client
    office: Office
    numbers: Iterator[int] = field(default_factory=count)  # for names that nobody has yet

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.stack.call(method, path, body, key=self.key)

    def group(self) -> int:
        return self.call("GET", "/api/v1/groups/")[1]["results"][0]["id"]


def form_token(page: httpx.Response) -> str:
    """Return what a form of this page must carry."""
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found, page.status_code
    return found[1]


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with Office() as office:
        yield office


@pytest.fixture(scope="module")
def stack(office: Office) -> Iterator[Stack]:
    endpoints = {
        "HEARTBEAT_REPLY_ADDRESS": "answers@example.com",
        "HEARTBEAT_INBOUND_MAIL_SECRET": MAIL_SECRET,
        "HEARTBEAT_TWILIO_AUTH_TOKEN": TWILIO_TOKEN,
        "HEARTBEAT_OUTGOING_ALLOW": "127.0.0.0/8",
    }
    with running_stack(EMAIL_URL=office.url, open_files=OPEN_FILES, **endpoints) as stack:
        yield stack


@pytest.fixture(scope="module")
def attacker(stack: Stack, office: Office) -> Iterator[Attacker]:
    said = stack.manage("create_organization", "Attackers", "mallory@example.net")
    password = said.rsplit(maxsplit=1)[-1]
    with httpx.Client(base_url=stack.url, timeout=30) as browser:
        form = {"csrfmiddlewaretoken": form_token(browser.get("/login/")), "username": "mallory@example.net"}
        assert browser.post("/login/", data={**form, "password": password}).status_code == 302
        header = {"X-CSRFToken": browser.cookies["heartbeat_csrf"], "Referer": stack.url}
        made = browser.post("/api/v1/api-keys/", json={"name": "attack"}, headers=header)
        assert made.status_code == 201, made.text
        yield Attacker(stack, made.json()["key"], browser, office)


@dataclass
class Neighbour:
    """An organization that pings each second and misses a heartbeat every five: how long each ping and page took."""

    stack: Stack
    office: Office
    numbers: Iterator[int] = field(default_factory=count)

    def ping(self, address: str) -> float:
        """Return after how many seconds the ping is taken; it is sent again until it is."""
        started = time.monotonic()
        while self.stack.ping(address) != 200:
            assert time.monotonic() < started + 120, "no ping is taken"
            time.sleep(0.1)
        return time.monotonic() - started

    def missed(self, number: int) -> list[tuple[dict[str, Any], str]]:
        """Create heartbeats whose first ping starts the timer, each with a person of its own, lest they are bundled."""
        made = []
        for _ in range(number):
            name = f"neighbour{next(self.numbers)}"
            person = self.stack.person(name)
            heartbeat = self.stack.heartbeat(
                f"{name} job", recipients=[person], interval_minutes=INTERVAL / 60, start_timer="first_ping"
            )
            made.append((heartbeat, f"{name}@example.com"))
        return made

    def live(self, attack: Attack, *, lasts: float = 5.0) -> tuple[float, float]:
        """Live on for so many seconds of the attack; return the slowest ping and the slowest page, in seconds.

        The attack ends when the event is set that it is given.
        """
        steady = self.stack.heartbeat(f"steady {next(self.numbers)}", interval_minutes=5)
        missed = self.missed(int(lasts // 5) + 1)
        # The deadlines are half a second after the attack began, and every five seconds from there.
        begins = time.monotonic() + INTERVAL
        over = threading.Event()
        pings: list[float] = []
        deadlines: list[float] = []

        def ping_on() -> None:
            time.sleep(max(0.0, begins - time.monotonic()))
            while not over.is_set():
                pings.append(self.ping(steady["api_url"]))
                over.wait(max(0.0, 1 - pings[-1]))

        def miss() -> None:
            for number, (heartbeat, _) in enumerate(missed):
                time.sleep(max(0.0, begins + 0.5 + 5 * number - INTERVAL - time.monotonic()))
                pings.append(self.ping(heartbeat["api_url"]))
                deadlines.append(time.monotonic() + INTERVAL)

        threads = [threading.Thread(target=target, daemon=True) for target in (ping_on, miss)]
        for thread in threads:
            thread.start()
        time.sleep(max(0.0, begins - time.monotonic()))
        ends = threading.Timer(lasts, over.set)
        ends.start()
        attack(over)
        for thread in threads:
            thread.join(150)
        assert len(deadlines) == len(missed), "a heartbeat could not be pinged"
        for _, address in missed:
            until(partial(self.office.first, address), seconds=90, what=f"{address}\n{self.stack.tail()}")
        pages = [self.office.first(address) - at for (_, address), at in zip(missed, deadlines, strict=True)]
        for heartbeat, _ in [*missed, (steady, "")]:
            self.stack.call("DELETE", f"/api/v1/integrations/{heartbeat['id']}/")
        return round(max(pings), 2), round(max(pages), 2)


@pytest.fixture(scope="module")
def neighbour(stack: Stack, office: Office) -> Neighbour:
    return Neighbour(stack, office)


@pytest.fixture(scope="module")
def quiet(neighbour: Neighbour, attacker: Attacker) -> tuple[float, float]:
    """Return the slowest ping and page while nobody attacks."""
    figures = neighbour.live(lambda over: over.wait())
    record_figure("nobody attacks", "slowest ping of the neighbour", figures[0], unit="s", at_most=MORE_PING)
    record_figure("nobody attacks", "slowest page of the neighbour", figures[1], unit="s", at_most=MORE_PAGE)
    return figures


def paced(stack: Stack, inputs: Sequence[Input], *, at_once: int, pause: float, cookies: Any = None) -> Attack:
    """Return the attack that sends the inputs again and again, so many at once, each after a pause."""

    def attack(over: threading.Event) -> None:
        limits = httpx.Limits(max_connections=at_once)
        with httpx.Client(base_url=stack.url, timeout=60, limits=limits, cookies=cookies) as to:

            def go_on(number: int) -> None:
                first = number % len(inputs)
                turn = cycle([*inputs[first:], *inputs[:first]])
                while not over.is_set():
                    with suppress(httpx.HTTPError):
                        to.request(**next(turn))
                    over.wait(pause)

            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(go_on, range(at_once)))

    return attack


def get(url: str, **parameters: str) -> Input:
    return {"method": "GET", "url": url, "params": parameters}


def mail(text: str) -> Input:
    headers = {"Authorization": f"Bearer {MAIL_SECRET}"}
    return {"method": "POST", "url": "/api/v1/responses/mail/", "content": text.encode(), "headers": headers}


def sms(stack: Stack, sender: str, body: str) -> Input:
    form = {"From": sender, "Body": body, "MessageSid": "SM1"}
    path = "/api/v1/responses/twilio/sms/"
    signature = twilio_signature(stack.url + path, {name: [value] for name, value in form.items()}, token=TWILIO_TOKEN)
    return {"method": "POST", "url": path, "data": form, "headers": {"X-Twilio-Signature": signature}}


def nested(count: int) -> str:
    heads = (f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(count))
    return "To: a@example.com\r\n" + "".join(heads) + "Content-Type: text/plain\r\n\r\n7\r\n"


def texts_that_explode(stack: Stack, attacker: Attacker) -> Attack:
    to, spaces = "To: a@example.com\r\n", " " * 1_400
    inputs = [
        mail(f"To: {'a' * 40_000}\r\n\r\n7\r\n"),
        mail(f"Cc: {'a+' * 50_000}\r\n\r\n7\r\n"),
        mail(f"{to}\r\n7{spaces}x\r\n"),
        mail(f"To: {'a' * 100_000}\r\n\r\n7\r\n"),
        mail(f"Precedence: {'(' * 40_000}\r\n{to}\r\n7\r\n"),
        mail(f"{to}Content-Type: text/html\r\n\r\n{'<a ' * 30_000}"),
        sms(stack, "+4915112345678", f"7{spaces}x"),
        sms(stack, "+" + "1" * 40_000, "7"),
    ]
    return paced(stack, inputs, at_once=1, pause=0.2)


def reply_addresses(
    call: Callable[..., tuple[int, Any]], office: Office, names: Sequence[str]
) -> tuple[int, Sequence[str]]:
    """Page new people of an organization; return the alert and the addresses at which their messages are answered."""
    policy = call("GET", "/api/v1/escalation-policies/")[1]["results"][-1]["id"]
    assert call("PATCH", f"/api/v1/escalation-policies/{policy}/", {"quick_launch": True})[0] == 200
    emails = [f"{name}@example.com" for name in names]
    people = [call("POST", "/api/v1/users/", {"name": email, "email": email})[1]["id"] for email in emails]
    body = {"subject": "answer me", "escalation_policy": policy, "recipient_users": people}
    status, alert = call("POST", "/api/v1/alerts/", body)
    assert status == 201, alert

    def found() -> Sequence[str]:
        to = {str(message["To"]): str(message["Reply-To"]) for message in list(office.messages) if message["Reply-To"]}
        return [to[email] for email in emails] if to.keys() >= set(emails) else []

    return alert["id"], until(found, seconds=60, what=f"answerable messages to {names}")


def text_of(message: Message) -> str:
    """Return the plain text of a message."""
    parts = [part for part in message.walk() if part.get_content_type() == "text/plain"]
    return parts[0].get_payload(decode=True).decode()


def mails_that_burst(stack: Stack, attacker: Attacker) -> Attack:
    """Strangers' mails, and such as name messages to the attackers: as many as their share of the queue takes."""
    number = next(attacker.numbers)
    # One message takes 20, so 14 of them take 256 MiB.
    _, known = reply_addresses(attacker.call, attacker.office, [f"attacker{number}x{each}" for each in range(14)])
    alert, (answer_to,) = reply_addresses(stack.call, attacker.office, [f"answering{number}"])
    slow = "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\n" * 199_000
    burst = [
        f"To: {'(' * 3_000}\r\n\r\n7\r\n",
        f"Content-Type: {'(' * 3_000}\r\n\r\n7\r\n",
        f"{'Content-Type: message/rfc822' + chr(13) + chr(10) * 2}" * 3_000 + "7\r\n",
        nested(3_000),
        f"Subject: {'=?utf-8?q?a?= ' * 20_000}\r\n\r\n7\r\n",
        f"Cc: {'a@example.com, ' * 60_000}\r\n\r\n7\r\n",
        slow,
    ]
    inputs = [mail(f"To: {to}\r\n{text}") for text in burst for to in ("a@example.com", *known[:2])]
    go_on = paced(stack, [*inputs, sms(stack, "\x00", "7")], at_once=2, pause=0.2)

    def fill(to: str) -> int:
        with httpx.Client(base_url=stack.url, timeout=60) as client:
            return [client.request(**mail(f"To: {to}\n{slow}")).status_code for _ in range(20)][-1]

    def attack(over: threading.Event) -> None:
        burst = threading.Thread(target=go_on, args=(over,))
        burst.start()
        begun = time.monotonic()
        with httpx.Client(base_url=stack.url, timeout=60) as client:
            assert client.request(**mail(f"To: {answer_to}\n\nack")).status_code == 202
        is_acknowledged = partial(
            stack.sql, f"SELECT FROM alerting_alert WHERE id = {alert} AND acknowledged_at IS NOT NULL"
        )
        until(is_acknowledged, seconds=90, what=f"the neighbour's answer acts\n{stack.tail()}")
        record_figure(
            "mails that burst", "the neighbour's answer acts", round(time.monotonic() - begun, 2), unit="s", at_most=30
        )
        burst.join()
        stack.sql("DELETE FROM integrations_inboundevent WHERE state = 'waiting' RETURNING id")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, known))
    ((waiting,),) = stack.sql("SELECT sum(size) FROM integrations_inboundevent WHERE state = 'waiting'")
    assert waiting > 0.9 * SHARE_BYTES
    return attack


def calendars_that_never_end(stack: Stack, attacker: Attacker) -> Attack:
    served = Calendars()
    group = attacker.group()
    # The ticks of ten minutes at once: each takes up what is due.
    ticks = 10 * [(name, queue) for name, (queue, _) in PERIODIC.items() if "calendar" in name]
    assert ticks

    def attack(over: threading.Event) -> None:
        made = []
        for number in range(10):
            url = f"http://127.0.0.1:{served.server_port}/{number}"
            shift = {"group": group, "name": f"never {number}", "kind": "calendar", "calendar_url": url}
            status, answer = attacker.call("POST", "/api/v1/shifts/", shift)
            assert status in {201, 400}, answer
            made += [answer["id"]] if status == 201 else []
        broker = valkey.locate(open_data_folder(stack.folder)).url
        with Celery(broker=broker) as app, app.connection_for_write() as connection:
            for name, queue in ticks:
                app.send_task(name, queue=queue, connection=connection, ignore_result=True)
        over.wait()
        served.shutdown()
        served.server_close()
        assert served.asked, "no calendar was fetched"
        for shift_id in made:
            attacker.call("DELETE", f"/api/v1/shifts/{shift_id}/")

    return attack


def connections_that_say_nothing(stack: Stack, attacker: Attacker) -> Attack:
    """As many as leave the server some places: who may hold all of them is for the proxy in front to say."""

    def attack(over: threading.Event) -> None:
        with ExitStack() as held:
            for number in range(OPEN_FILES - KEPT_FREE):
                silent = held.enter_context(socket.socket())
                silent.setblocking(False)
                silent.connect_ex(("127.0.0.1", stack.port))
                if number % 2:  # half of them begin a request and stop
                    with suppress(OSError):
                        silent.send(b"POST /login/ HTTP/1.1\r\nHost: x\r\n")
            over.wait()

    return attack


def look_ups_that_explode(stack: Stack, attacker: Attacker) -> Attack:
    status, group = attacker.call("POST", "/api/v1/groups/", {"name": f"{NAME}{next(attacker.numbers)}b"})
    assert status in {201, 400}, group
    explodes = r"^(.+)(.+)(.+)(.+)\1\2\3\4.$"
    inputs = [
        get("/admin/accounts/group/", name__regex=explodes),
        get("/admin/accounts/group/", name__iregex=explodes),
        get("/admin/accounts/group/", organization__name__regex=explodes, name__regex=explodes),
        get("/admin/accounts/user/", groups__name__regex=explodes),
        get("/api/v1/groups/", name__regex=explodes),
        get("/api/v1/groups/", search=explodes),
    ]
    return paced(stack, inputs, at_once=12, pause=0.5, cookies=attacker.browser.cookies)


def sign_ins_at_once(stack: Stack, attacker: Attacker) -> Attack:
    with httpx.Client(base_url=stack.url) as browser:
        token = form_token(browser.get("/login/"))
        form = {"csrfmiddlewaretoken": token, "password": "wrong"}
        emails = ["mallory@example.net", *(f"nobody{number}@example.net" for number in range(59))]
        inputs = [{"method": "POST", "url": "/login/", "data": {**form, "username": email}} for email in emails]
        return paced(stack, inputs, at_once=60, pause=1, cookies=browser.cookies)


def forms_of_strangers(stack: Stack, attacker: Attacker) -> Attack:
    headers = {"Cookie": f"heartbeat_csrf={'a' * 32}"}
    part = b'--x\r\nContent-Disposition: form-data; name="' + b";" * 900 + b"\r\n\r\n1\r\n"
    bodies = {
        "multipart/form-data; boundary=x": part * 1_000,
        "application/x-www-form-urlencoded": b"a=" + b"%" * 10**6,
    }
    inputs: list[Input] = [
        {"method": "POST", "url": "/login/", "content": body, "headers": {**headers, "Content-Type": kind}}
        for kind, body in bodies.items()
    ]
    return paced(stack, inputs, at_once=60, pause=0.2)


def reads_that_cost(stack: Stack, attacker: Attacker) -> Attack:
    group = attacker.call("POST", "/api/v1/groups/", {"name": f"costly {next(attacker.numbers)}"})[1]["id"]
    owner = attacker.call("GET", "/api/v1/users/me/")[1]["id"]
    hours = [f"{half // 2:02}:{half % 2 * 3}" for half in range(48)]
    windows = [{"days": list(DAYS), "starts": f"{at}0", "ends": f"{at}5"} for at in hours]
    people = [{"user_id": owner, "role": "primary"}]
    begun = time.monotonic()
    for number in range(101):
        shift = {"group": group, "name": f"shift {number}", "windows": windows, "people": people}
        status, answer = attacker.call("POST", "/api/v1/shifts/", shift)
        assert status in {201, 400}, answer
        if status == 400 or time.monotonic() > begun + 15:
            break
    feed = attacker.call("GET", f"/api/v1/groups/{group}/calendar/")[1]["url"]
    inputs = [get(feed), get("/api/v1/schema/"), get("/metrics"), get("/api/v1/docs/")]
    return paced(stack, inputs, at_once=4, pause=0.2)


def bodies_that_cost(stack: Stack, attacker: Attacker) -> Attack:
    headers = {"Authorization": f"Bearer {attacker.key}"}
    window = {"days": ["x"] * 100_000, "starts": "08:00", "ends": "09:00"}
    bodies = {
        "/api/v1/users/": dict.fromkeys((f"field{number}" for number in range(50_000)), 1),
        "/api/v1/contact-methods/": {"kind": "email", "windows": [window]},
        "/api/v1/roles/": {"name": "x", "entitlements": ["x"] * 100_000},
    }
    inputs = [{"method": "POST", "url": url, "json": body, "headers": headers} for url, body in bodies.items()]
    inputs += [get("/admin/accounts/user/", q="a " * 5_000), get("/admin/escalation/shift/", q="a " * 5_000)]
    return paced(stack, inputs, at_once=4, pause=0.2, cookies=attacker.browser.cookies)


def pages_of_full_rotas(stack: Stack, attacker: Attacker) -> Attack:
    """All that says who is on call is read, thirty at once, of a group whose calendars hold thousands of turns.

    Fewer than they may hold: each request takes long enough for the others to come meanwhile, and the test ends soon.
    What the most of them cost one request stands in tests/integration/escalation/test_full_calendars.py.
    """
    owner = attacker.call("GET", "/api/v1/users/me/")[1]["id"]
    members = [{"user": owner, "role": "primary"}]
    body = {"name": f"full {next(attacker.numbers)}", "members": members}
    status, group = attacker.call("POST", "/api/v1/groups/", body)
    assert status == 201, group
    shift = {"group": group["id"], "name": "full", "kind": "calendar", "calendar_url": "http://127.0.0.1:1/"}
    status, shift = attacker.call("POST", "/api/v1/shifts/", shift)
    assert status == 201, shift
    fill(shift["id"], [owner], shifts=MAX_GROUP_SHIFTS, turns=TURNS // MAX_GROUP_SHIFTS, sql=stack.sql)
    headers = {"Authorization": f"Bearer {attacker.key}"}
    inputs = [
        get("/on-call/"),
        get(f"/groups/{group['id']}/"),
        {"method": "GET", "url": "/api/v1/users/me/on-call/", "headers": headers},
    ]
    assert [attacker.browser.request(**asked).status_code for asked in inputs] == [200] * len(inputs)
    read_on = paced(stack, inputs, at_once=30, pause=0.05, cookies=attacker.browser.cookies)
    name = f"reading{next(attacker.numbers)}"
    reply_addresses(stack.call, attacker.office, [name])
    [link] = {
        found[0]
        for message in list(attacker.office.messages)
        if str(message["To"]) == f"{name}@example.com"
        for found in [re.search(r"/r/[^\s\"<>]+", text_of(message))]
        if found
    }

    def attack(over: threading.Event) -> None:
        opened: list[float] = []

        def open_link() -> None:
            with httpx.Client(base_url=stack.url, timeout=60) as client:
                while not over.wait(0.5):
                    begun = time.monotonic()
                    answer = client.get(link)
                    opened.append(time.monotonic() - begun if answer.status_code == 200 else REFUSED)

        reader = threading.Thread(target=open_link)
        reader.start()
        read_on(over)
        reader.join()
        # It takes no turn, and finds a connection because those who do hold a few.
        slowest = round(max(opened), 2)
        record_figure("pages of full rotas", "the neighbour's link opens", slowest, unit="s", at_most=10)
        stack.sql(
            "WITH gone AS (DELETE FROM escalation_shiftentry WHERE shift_id IN "
            f"(SELECT id FROM escalation_shift WHERE group_id = {group['id']}) RETURNING id) SELECT count(*) FROM gone"
        )
        assert attacker.call("DELETE", f"/api/v1/groups/{group['id']}/")[0] == 204

    return attack


def events_that_cost(make: Callable[..., list[Input]], stack: Stack, attacker: Attacker) -> Attack:
    """Events to the attackers' integrations; the calls of `make` create those."""
    inputs = make(attacker.call, f"{make.__name__} {next(attacker.numbers)}")
    post_on = paced(stack, inputs, at_once=8, pause=0)
    [(before,)] = stack.sql("SELECT count(*) FROM integrations_inboundevent")

    def attack(over: threading.Event) -> None:
        post_on(over)
        [(stored,)] = stack.sql("SELECT count(*) FROM integrations_inboundevent")
        assert stored > before + 5, "hardly an event was stored"

    return attack


ATTACKS = {
    "texts that explode": texts_that_explode,
    "mails that burst": mails_that_burst,
    "calendars that never end": calendars_that_never_end,
    "connections that say nothing": connections_that_say_nothing,
    "look-ups that explode": look_ups_that_explode,
    "sign-ins, 60 at once": sign_ins_at_once,
    "forms of strangers, 60 at once": forms_of_strangers,
    "reads that cost": reads_that_cost,
    "bodies and searches that cost": bodies_that_cost,
    "pages of full rotas, 30 at once": pages_of_full_rotas,
    "events that flood, 8 at once": partial(events_that_cost, flood),
    "mappings that cost, 8 at once": partial(events_that_cost, costly),
}


# The others come to the same guards (turns, children with limits, bounds of requests), and take a quarter of an hour.
OFTEN = {"events that flood, 8 at once"}


@pytest.mark.parametrize("lasts", [5.0, pytest.param(20.0, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "attack", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.long) for name in ATTACKS]
)
def test_a_neighbour_is_pinged_and_paged_in_time(
    stack: Stack, attacker: Attacker, neighbour: Neighbour, quiet: tuple[float, float], attack: str, lasts: float
):
    try:
        ping, page = neighbour.live(ATTACKS[attack](stack, attacker), lasts=lasts)
    finally:
        until(stack.ready, seconds=120, what="ready again")
    fault = f"{attack}, for {lasts:g} s"
    record_figure(fault, "slowest ping of the neighbour", ping, unit="s", at_most=quiet[0] + MORE_PING)
    record_figure(fault, "slowest page of the neighbour", page, unit="s", at_most=quiet[1] + MORE_PAGE)
