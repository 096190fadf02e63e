"""The whole stack against slow mail servers: how long everybody else waits meanwhile."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from embedded import postgres
from embedded.folders import open_data_folder
from escalation.channels.send_deadline import SEND_SECONDS
from escalation.notifications.deliver import LOOK_AFTER
from escalation.notifications.providers.circuit_breakers import PAUSE
from heartbeat_project.kernel import clock
from tests.figures import record_figure
from tests.processes import running_stack, until
from tests.providers.certificates import make_certificate
from tests.providers.mail import MailServer
from tests.providers.server import Provider, answer

pytestmark = [pytest.mark.long, pytest.mark.serial, pytest.mark.timeout(3_000)]
SOON = 5.0
# Beyond the limit of a send: for the tick, and for the claims before it.
NEXT_METHOD = SEND_SECONDS + SOON
# A probe goes a pause after the last failure, looked for each LOOK_AFTER; the others follow it.
BACK = (PAUSE + LOOK_AFTER).total_seconds() + SOON
SLOW = 40
FEW = 3
EMAIL_URLS = {
    "plain": "smtp://127.0.0.1:{port}",
    "STARTTLS": "smtp+tls://127.0.0.1:{port}",
    "sign-in": "smtp://name:password@127.0.0.1:{port}",
    "TLS": "smtp+ssl://127.0.0.1:{port}",
}
USUAL = {"hang_at": "", "drop_at": "", "refuse_at": "", "drip": 0.0, "pause": 0.0}


@dataclass(frozen=True)
class Case:
    """What a mail server does; to the mails of forty people only, or to everybody's; until it gives up, or at once."""

    name: str
    over: str = "plain"
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    some_only: bool = False
    at_once: bool = False
    # A mail that arrives without an answer, or before the fault, has no next method.
    fails: bool = True


CASES = [
    Case("mail server drips", behaviour={"drip": 1.0}),
    Case("mail server answers each command after 9 s", behaviour={"pause": 9.0}),
    Case("mail server refuses connections", behaviour={"listening": False}, at_once=True),
    Case("mail server answers 4xx for ever", behaviour={"refuse_at": "RCPT"}, at_once=True),
    Case("mail server answers 4xx for ever to what follows DATA", behaviour={"refuse_at": "END"}, at_once=True),
    Case("mail server drops connections at EHLO", behaviour={"drop_at": "EHLO"}, at_once=True),
    Case("mail server drops connections at DATA", behaviour={"drop_at": "DATA"}, at_once=True),
    *(
        Case(f"mail server hangs at {verb}", behaviour={"hang_at": verb})
        for verb in ("BANNER", "EHLO", "MAIL", "RCPT", "DATA")
    ),
    Case("mail server hangs at QUIT", behaviour={"hang_at": "QUIT"}, fails=False),
    Case("mail server takes the mail and is silent", behaviour={"hang_at": "END"}),
    *(
        Case(f"forty mailboxes hang at {verb}", behaviour={"hang_at": verb}, some_only=True)
        for verb in ("RCPT", "DATA", "END")
    ),
    Case("mail server hangs at STARTTLS", over="STARTTLS", behaviour={"hang_at": "STARTTLS"}),
    Case("mail server hangs at AUTH", over="sign-in", behaviour={"hang_at": "AUTH"}),
    Case("mail server has an expired certificate", over="TLS", at_once=True),
]
END_ALL = """
UPDATE integrations_inboundintegration SET enabled = FALSE;
UPDATE alerting_alert SET status = 'closed', closed_at = now() WHERE status = 'open';
UPDATE escalation_escalationrun SET next_step_at = NULL;
"""
CLEAR = """
UPDATE escalation_notification SET status = 'superseded', next_attempt_at = NULL WHERE status = 'pending';
DELETE FROM escalation_circuitbreaker;
"""
SPEAK = """
UPDATE accounts_contactmethod SET verified_at = now(), send_error = '' WHERE kind = 'webhook';
UPDATE accounts_organization SET bundle_seconds = 0;
"""


def sql(stack, sentences):
    url = postgres.locate(open_data_folder(stack.folder)).url.replace("postgres://", "postgresql://", 1)
    with psycopg.connect(url) as connection:
        connection.execute(sentences)


def none_is_left(stack, query):
    return not stack.sql(query)


def opened(stack, integration):
    """Return when the alert was opened, in seconds of the clock."""
    rows = stack.sql(
        "SELECT extract(epoch FROM opened_at) FROM alerting_alert WHERE integration_id = " + str(integration["id"])
    )
    return float(rows[0][0]) if rows else None


class Hooks(Provider):
    """Takes webhooks, and notes when they came, by path."""

    times: list[tuple[str, float]]

    def first(self, path, *, since):
        """Return when the first came to this path since then: not the code that confirms the address."""
        return next((at for to, at in list(self.times) if to == path and at >= since), None)


@pytest.fixture
def hooks():
    provider = Hooks()
    provider.times = []

    def take(request):
        provider.times.append((request.path, clock.now().timestamp()))
        return answer()

    provider.usual = take
    yield provider
    provider.close()


@pytest.fixture
def readable_folder():
    """Return a folder that the service account can read, too."""
    with tempfile.TemporaryDirectory(prefix="hb-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def add_webhook(stack, hooks, user, path, **more):
    address = f"http://127.0.0.1:{hooks.port}{path}"
    stack.post(
        "/api/v1/contact-methods/", {"user": user, "kind": "webhook", "label": "hook", "address": address, **more}
    )


def measure(stack, mail, hooks, case, people):
    """Have the mails to the slow people fail; return after how many seconds the others and the next method came."""
    behaviour = USUAL | case.behaviour
    if behaviour.pop("listening", True) is False:
        mail.refuse_connections()
    for name, value in behaviour.items():
        setattr(mail, name, value)
    mail.is_slow = (lambda to: to.startswith("slow")) if case.some_only else None
    mail.taken.clear()
    hooks.times.clear()
    slow = stack.heartbeat(f"slow: {case.name}", recipients=people["slow"], interval_minutes=0.1)
    time.sleep(3)
    others = stack.heartbeat(f"others: {case.name}", recipients=[people["hook"], people["well"]], interval_minutes=0.1)
    slow_at = until(partial(opened, stack, slow), seconds=60, what=f"{case.name}: the first alert opens")
    at = until(partial(opened, stack, others), seconds=60, what=f"{case.name}: the alert opens")
    came = until(partial(hooks.first, "/hook", since=at), seconds=120, what=f"{case.name}: the webhook comes")
    seconds = {"others": came - at}
    if case.some_only:
        offset = clock.now().timestamp() - time.monotonic()
        until(lambda: mail.arrived("well@example.com"), seconds=120, what=f"{case.name}: the mail comes")
        seconds["others"] = max(seconds["others"], mail.arrived("well@example.com") + offset - at)
    if case.fails:
        came = until(partial(hooks.first, "/next", since=slow_at), seconds=120, what=f"{case.name}: the next method")
        seconds["next"] = came - slow_at
    sql(stack, END_ALL)
    # What hangs ends within its limit, and counts against the mail server until then.
    sending = "SELECT FROM escalation_notification WHERE status = 'sending'"
    until(partial(none_is_left, stack, sending), seconds=90, what=f"{case.name}: what hung has ended")
    sql(stack, CLEAR)
    if "listening" in case.behaviour:
        mail.listen()
    return seconds


@pytest.mark.parametrize("over", EMAIL_URLS)
def test_webhooks_and_other_mailboxes_do_not_wait_for_a_slow_mail_server(hooks, readable_folder, over):
    certificate = make_certificate(readable_folder, "127.0.0.1", expired=True) if over == "TLS" else None
    # That it has expired is the only fault.
    env = {"SSL_CERT_FILE": str(certificate)} if certificate else {}
    mail = MailServer(certificate=certificate)
    env["EMAIL_URL"] = EMAIL_URLS[over].format(port=mail.port)
    with running_stack(HEARTBEAT_OUTGOING_ALLOW="127.0.0.1/32", **env) as stack:
        people: dict[str, Any] = {"slow": [stack.person(f"slow{number}") for number in range(SLOW)]}
        people |= {"hook": stack.person("hook"), "well": stack.person("well")}
        add_webhook(stack, hooks, people["hook"], "/hook")
        # The first of the slow ones has a next method, for half an hour later.
        add_webhook(stack, hooks, people["slow"][0], "/next", delay_minutes=30)
        sql(stack, SPEAK)
        figures = {case.name: measure(stack, mail, hooks, case, people) for case in CASES if case.over == over}
    mail.close()
    for case in [case for case in CASES if case.over == over]:
        seconds = figures[case.name]
        record_figure(case.name, "other channels and recipients after", seconds["others"], unit="s", at_most=SOON)
        if case.fails:
            most = SOON if case.at_once else NEXT_METHOD
            record_figure(case.name, "the same person's next method after", seconds["next"], unit="s", at_most=most)


@pytest.mark.parametrize(
    ("name", "behaviour"),
    [("refuses connections", None), ("answers 4xx", {"refuse_at": "RCPT"})],
)
def test_what_waits_is_sent_soon_after_the_mail_server_is_back(name, behaviour):
    """The server is away for so long that each message waits for minutes."""
    mail = MailServer()
    with running_stack(EMAIL_URL=f"smtp://127.0.0.1:{mail.port}") as stack:
        users = [stack.person(f"p{number}") for number in range(FEW)]
        if behaviour is None:
            mail.refuse_connections()
        else:
            mail.refuse_at = behaviour["refuse_at"]
        for number, user in enumerate(users):
            stack.heartbeat(f"job {number}", recipients=[user], interval_minutes=0.1)
        pages = (
            "SELECT FROM escalation_notification WHERE kind = 'page' AND failing_since < now() - interval '150 seconds'"
        )
        until(lambda: len(stack.sql(pages)) >= FEW, seconds=300, what="each message has failed for minutes")
        began = time.monotonic()
        if behaviour is None:
            mail.listen()
        else:
            mail.refuse_at = ""
        addresses = {f"p{number}@example.com" for number in range(FEW)}
        until(lambda: addresses <= {to for to, _ in list(mail.taken)}, seconds=600, what="all mails come")
        arrived = [mail.arrived(address) - began for address in addresses]
    mail.close()
    fault = f"mail server {name} for 150 s"
    record_figure(fault, "the first message is sent after it is back", min(arrived), unit="s", at_most=BACK)
    record_figure(fault, "all messages are sent after it is back", max(arrived), unit="s", at_most=BACK)
