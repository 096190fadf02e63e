"""A real SMTP server on loopback that accepts messages as fast as they come, and finds the alerts that each names."""

import asyncio
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default as mail_policy
from typing import Self

from benchmarks.harness import free_port
from heartbeat_project.kernel import clock

LONGEST = 64 * 2**20  # bytes of one message
LINK, NAME = re.compile(r"/alerts/(\d+)\b"), re.compile(r"\bjob (\d+)\b")


@dataclass(frozen=True, slots=True)
class Mail:
    """One accepted message: its time (seconds since 1970), its recipient and its bytes."""

    at: float
    recipient: str
    raw: bytes


class Inbox:
    """Accepts mail in its own thread and stores it unparsed, so that parsing does not slow down the measurement."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """Return the value for EMAIL_URL."""
        return f"smtp://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=LONGEST)
        asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def wait_for_quiet(self, *, seconds: float) -> None:
        """Wait until no message has come for `seconds`, in which a duplicate would have come."""
        count, since = len(self.mails), time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.1)
            if len(self.mails) != count:
                count, since = len(self.mails), time.monotonic()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak plain SMTP without authentication and extensions."""
        recipients: list[str] = []
        writer.write(b"220 inbox\r\n")
        while line := await reader.readline():
            verb, answer = line[:4].upper(), b"250 fine\r\n"
            if verb == b"MAIL":
                recipients = []
            elif verb == b"RCPT":
                recipients.append(line.partition(b"<")[2].partition(b">")[0].decode())
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                raw = (await reader.readuntil(b"\r\n.\r\n"))[:-3].replace(b"\r\n..", b"\r\n.")
                at = clock.now().timestamp()
                self.mails += [Mail(at, recipient, raw) for recipient in recipients]
            elif verb == b"QUIT":
                answer = b"221 bye\r\n"
            elif verb not in {b"EHLO", b"HELO", b"RSET", b"NOOP"}:
                answer = b"502 not here\r\n"
            writer.write(answer)
            if verb == b"QUIT":
                break
        writer.close()


def alerts_named(mail: Mail, *, alert_of: dict[int, int]) -> set[int]:
    """Return the ids of the alerts that a message is about, be it one or thousands.

    A message names an alert by its link, by its header, or by the name of its heartbeat, which `alert_of` maps to the
    alert.
    """
    message = message_from_bytes(mail.raw, policy=mail_policy)
    body = message.get_body(("plain",))
    text = f"{message['Subject']}\n{body.get_content() if body else ''}"
    headers = " ".join(str(value) for value in message.get_all("X-Heartbeat-Alert", []))
    linked = {int(number) for number in LINK.findall(text) + re.findall(r"\d+", headers)}
    return linked | {alert_of[number] for number in map(int, NAME.findall(text)) if number in alert_of}


def message_id(mail: Mail) -> str:
    """Return the part of a message's Message-ID before the @."""
    return str(message_from_bytes(mail.raw, policy=mail_policy)["Message-ID"] or "").strip("<> ").partition("@")[0]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison: when the last pair was first notified, and the number of wrong notifications."""

    last_at: float  # seconds since 1970
    lost: int  # expected pairs without a message
    doubled: int  # pairs in more than one message
    strange: int  # messages about no alert, and pairs that were not expected


def compare(
    mails: Iterable[Mail],
    *,
    expected: set[tuple[str, int]],
    alert_of: dict[int, int],
    carried: Mapping[str, set[int]] | None = None,
) -> Comparison:
    """Compare messages with the expected (recipient, alert) pairs: each must be in exactly one message, and no others.

    `carried` has the alerts of each message according to the outbox, by the part of its Message-ID before the @,
    because a bundle names only some of them and links to the page that lists all.
    """
    first: dict[tuple[str, int], float] = {}
    doubled = strange = 0
    for mail in mails:
        alerts = alerts_named(mail, alert_of=alert_of) | (carried or {}).get(message_id(mail), set())
        strange += not alerts
        for alert in alerts:
            pair = (mail.recipient, alert)
            doubled += pair in first
            strange += pair not in expected
            first.setdefault(pair, mail.at)
    return Comparison(
        last_at=max(first.values(), default=0.0),
        lost=len(expected - first.keys()),
        doubled=doubled,
        strange=strange,
    )
