"""All the ways in which people answer an alert and providers report, over HTTP to a stack of real processes."""

import http.client
import itertools
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import Message
from functools import partial
from http.cookiejar import CookieJar
from typing import Any

from tests.processes import PostOffice, Stack, until
from tests.providers.twilio import SID, TOKEN, Twilio, signature

MAIL_SECRET = "mail-secret-of-the-mail-server"
# Pages of the administration: its index and a list.
ADMIN_PAGES = ("/admin/", "/admin/integrations/inboundintegration/")

_numbers = itertools.count(1)


def answerable(twilio: Twilio) -> dict[str, str]:
    """Return the variables of a stack that sends SMS over this Twilio, and takes replies by SMS and by mail."""
    return {
        "HEARTBEAT_OUTGOING_ALLOW": "127.0.0.1/32",
        "HEARTBEAT_TWILIO_URL": twilio.url,
        "HEARTBEAT_TWILIO_ACCOUNT_SID": SID,
        "HEARTBEAT_TWILIO_AUTH_TOKEN": TOKEN,
        "HEARTBEAT_TWILIO_FROM": "+15550001111",
        "HEARTBEAT_REPLY_ADDRESS": "a@reply.example.org",
        "HEARTBEAT_INBOUND_MAIL_SECRET": MAIL_SECRET,
    }


def expect_answers_work(
    stack: Stack, post: PostOffice, twilio: Twilio, *, timed: Callable[[Callable[[], Any]], Any]
) -> str:
    """Page a person by mail and SMS, answer in every way, and return the person's address.

    `timed` makes each request that nobody should have to wait for.
    """
    number = next(_numbers)
    name, phone = f"answering{number}", f"+49151{number:08}"
    person = stack.person(name)
    method = {"user": person, "kind": "sms", "label": "SMS-Personal", "address": phone}
    stack.post("/api/v1/contact-methods/", method)
    stack.sql(
        f"UPDATE accounts_contactmethod SET verified_at = now() WHERE user_id = {person} AND kind = 'sms' RETURNING 1"
    )
    job = stack.heartbeat(f"{name} job", recipients=[person], grace_minutes=0)
    assert timed(lambda: stack.ping(job["api_url"])) == 200
    address = f"{name}@example.com"
    until(partial(post.to, address), seconds=60, what=f"{address} is paged\n{stack.tail()}")
    sms = until(partial(_page_to, twilio, phone), seconds=60, what=f"{phone} is paged\n{stack.tail()}")
    [mail] = post.to(address)
    [alert] = stack.alerts(job["id"])

    def state() -> dict[str, Any]:
        return stack.alerts(job["id"])[0]

    # The provider reports that the SMS was delivered.
    sent = f"FROM escalation_notification WHERE alert_id = {alert['id']} AND channel = 'sms'"
    [(message_id,)] = until(
        lambda: stack.sql(f"SELECT message_id {sent} AND provider_id = '{sms['sid']}'"),
        seconds=20,
        what="what the provider said is recorded",
    )
    fields = {"MessageSid": sms["sid"], "MessageStatus": "delivered", "AccountSid": SID}
    callback = f"/api/v1/provider-callbacks/twilio/{message_id}/"
    assert timed(lambda: _signed(stack, callback, fields))[0] == 204
    assert stack.sql(f"SELECT status {sent}") == [("delivered",)]

    # The link's page is opened, and its button pressed.
    [link, *_] = re.findall(rf"{re.escape(stack.url)}/r/\S+", _text(mail))
    assert timed(lambda: open_page(link))[0] == 200
    status, page = timed(lambda: open_page(link, {"action": "acknowledge"}))
    assert (status, "You acknowledged" in page) == (200, True), page
    [(acknowledged_at,)] = stack.sql(f"SELECT acknowledged_at FROM alerting_alert WHERE id = {alert['id']}")
    assert acknowledged_at is not None

    # The SMS is answered with a digit, and the mail with a word, which a worker reads.
    reply = {"From": phone, "Body": "8", "MessageSid": f"SM{number:032}"}
    status, said = timed(lambda: _signed(stack, "/api/v1/responses/twilio/sms/", reply))
    assert (status, "is yours" in said) == (200, True), said
    assert state()["status"] == "assigned"
    assert timed(lambda: _bring(stack, mail, "close", number=number)) == 202
    until(lambda: state()["status"] == "closed", seconds=20, what=f"a worker reads the mail\n{stack.tail()}")

    browser = _signed_in(stack)
    for path in ADMIN_PAGES:
        status, page = timed(partial(open_page, stack.url + path, browser=browser))
        assert (status, 'name="password"' in page) == (200, False), page
    return address


def _page_to(twilio: Twilio, phone: str) -> dict[str, str] | None:
    """Return the form of the page to this phone; the code that verifies it may have come before."""
    return next((form for form in twilio.taken if form["To"] == phone and "job" in form["Body"]), None)


def _text(mail: Message) -> str:
    return mail.get_body(("plain",)).get_content()  # type: ignore[attr-defined]


def open_page(
    address: str,
    form: dict[str, str] | None = None,
    *,
    browser: urllib.request.OpenerDirector | None = None,
    **headers: str,
) -> tuple[int, str]:
    """Open a page, or send a form to it; return the status and the text at the end of all redirects."""
    data = None if form is None else urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(address, data=data, headers=headers)
    try:
        with (browser or urllib.request.build_opener()).open(request, timeout=15) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _signed(stack: Stack, path: str, fields: dict[str, str]) -> tuple[int, str]:
    return open_page(stack.url + path, fields, **{"X-Twilio-Signature": signature(stack.url + path, fields)})


def _bring(stack: Stack, mail: Message, words: str, *, number: int) -> int:
    """Bring a reply to this mail as a mail server does; return the status."""
    reply = f"To: {mail['Reply-To']}\nFrom: x@example.com\nMessage-ID: <{number}@example.com>\n\n{words}\n"
    headers = {"Authorization": f"Bearer {MAIL_SECRET}", "Content-Type": "message/rfc822"}
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=15)
    try:
        connection.request("POST", "/api/v1/responses/mail/", reply.encode(), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _signed_in(stack: Stack) -> urllib.request.OpenerDirector:
    """Sign in as the first owner, and return the browser."""
    jar = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    open_page(f"{stack.url}/login/", browser=browser)
    token = next(cookie.value for cookie in jar if cookie.name == "heartbeat_csrf")
    form = {"username": "owner@example.com", "password": "a long enough password", "csrfmiddlewaretoken": str(token)}

    # A busy machine may have no place free to check a password, and answers 503.
    until(
        lambda: open_page(f"{stack.url}/login/", form, browser=browser)[0] == 200, seconds=20, what="signed in", every=1
    )
    return browser
