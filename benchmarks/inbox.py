"""A real SMTP server on loopback that takes messages as fast as they come, and knows which alerts each one names."""

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

LONGEST = 64 * 2**20
LINK, NAME = re.compile(r"/alerts/(\d+)\b"), re.compile(r"\bjob (\d+)\b")


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as it was taken: when (seconds since 1970), for whom, and its bytes."""

    at: float
    recipient: str
    raw: bytes


class Inbox:
    """Takes mail in a thread of its own and keeps it unread; reading it is for afterwards."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """Return what EMAIL_URL is to be."""
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
        """Wait until no message has come for so long: a doubled one would come now."""
        count, since = len(self.mails), time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.1)
            if len(self.mails) != count:
                count, since = len(self.mails), time.monotonic()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak as much SMTP as a client needs that sends no secrets and no extensions."""
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
    """Return the ids of the alerts that a message is about, whether it tells of one or of thousands.

    An alert is named by its link, by the header, or by its heartbeat's name, for which `alert_of` has the alert.
    """
    message = message_from_bytes(mail.raw, policy=mail_policy)
    body = message.get_body(("plain",))
    text = f"{message['Subject']}\n{body.get_content() if body else ''}"
    headers = " ".join(str(value) for value in message.get_all("X-Heartbeat-Alert", []))
    linked = {int(number) for number in LINK.findall(text) + re.findall(r"\d+", headers)}
    return linked | {alert_of[number] for number in map(int, NAME.findall(text)) if number in alert_of}


def message_id(mail: Mail) -> str:
    """Return what stands before the @ in a message's Message-ID."""
    return str(message_from_bytes(mail.raw, policy=mail_policy)["Message-ID"] or "").strip("<> ").partition("@")[0]


@dataclass(frozen=True, slots=True)
class Told:
    """What a bundle of messages told: when everybody knew of everything, and what was wrong with it."""

    last_at: float
    lost: int
    doubled: int
    strange: int


def told(
    mails: Iterable[Mail],
    *,
    expected: set[tuple[str, int]],
    alert_of: dict[int, int],
    carried: Mapping[str, set[int]] | None = None,
) -> Told:
    """Compare messages with who was to be told of which alert: each pair in exactly one message, and no other.

    `carried` has the alerts that the outbox says travelled in a message, by its Message-ID before the @: a bundle names
    the first of them and links to the page that lists all.
    """
    first: dict[tuple[str, int], float] = {}
    doubled = strange = 0
    for mail in mails:
        named = alerts_named(mail, alert_of=alert_of) | (carried or {}).get(message_id(mail), set())
        strange += not named
        for alert in named:
            pair = (mail.recipient, alert)
            doubled += pair in first
            strange += pair not in expected
            first.setdefault(pair, mail.at)
    return Told(
        last_at=max(first.values(), default=0.0),
        lost=len(expected - first.keys()),
        doubled=doubled,
        strange=strange,
    )
