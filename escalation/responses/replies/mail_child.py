"""Parse mails in a child process with hard limits, which `kernel.confined` runs.

Standard input is a sequence of mails, each after its length in eight bytes, of which the first bit says that the mail
is an event, so that all of its content is needed. For each of them a line of JSON is written
at once, so that the parent knows which mail killed this process. The parser is that of the standard library with its
old policy, which leaves headers as they are: the new one parses each header into a tree, and fails at nested brackets.
"""

import json
import runpy
import signal
import sys
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

# Seconds of processor time for one mail; a mail of 1 MB takes a tenth of it.
MAIL_SECONDS = 1.0
# Seconds of processor time after which no other mail is begun, so that those that were read are answered soon.
BATCH_SECONDS = 1.5
# Bytes of the outermost headers: mail servers accept fewer.
HEADERS_LENGTH = 262_144
# Characters that are kept of one header and of the text.
HEADER_LENGTH = 1_000
TEXT_LENGTH = 40_000
MAX_PARTS = 100
RECIPIENTS = ("delivered-to", "x-original-to", "to", "cc")
# Headers of which the first is returned, of which all are, and of which only the presence matters.
ONCE = ("message-id", "return-path", "from", "subject")
EACH = ("auto-submitted", "precedence")
MARKS = ("x-autoreply", "x-autorespond", "x-auto-response-suppress", "x-loop", "list-id", "list-unsubscribe")

# The first bit of a mail's length.
IS_EVENT = 1 << 63

content_of_mail = runpy.run_path(str(Path(__file__).with_name("mail_content.py")))["content_of"]
read_html = runpy.run_path(str(Path(__file__).with_name("reply_html.py")))["read_html"]


class TooLongError(BaseException):
    """The mail has used up its time. Not an Exception, so that no handler in the libraries catches it."""


class UnreadableError(Exception):
    """The mail cannot be read; the message says why."""


def main() -> None:
    """Read the mails on standard input until there are no more or `BATCH_SECONDS` are used up."""
    signal.signal(signal.SIGPROF, stop)
    source = sys.stdin.buffer
    while length := source.read(8):
        number = int.from_bytes(length)
        raw = source.read(number % IS_EVENT)
        sys.stdout.write(json.dumps(read(raw, is_event=number >= IS_EVENT)) + "\n")
        sys.stdout.flush()
        if time.process_time() > BATCH_SECONDS:
            break


def stop(*_: Any) -> None:
    """Raise TooLongError, as the handler of the timer."""
    raise TooLongError


def read(raw: bytes, *, is_event: bool = False) -> dict[str, Any]:
    """Return the content of a mail, or in `fault` why it cannot be read."""
    try:
        try:
            # Repeated each tenth of a second, in case that a library swallows the first exception.
            signal.setitimer(signal.ITIMER_PROF, MAIL_SECONDS, 0.1)
            return mail_of(raw, is_event=is_event)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except TooLongError:
        return {"fault": f"it takes more than {MAIL_SECONDS:g} s to read"}
    except RecursionError:
        return {"fault": "its parts are nested too deeply"}
    except MemoryError:
        return {"fault": "it takes too much memory to read"}
    except UnreadableError as error:
        return {"fault": str(error)}
    except Exception as error:  # noqa: BLE001 - the library raises many kinds
        return {"fault": f"it is not a mail that can be read ({type(error).__name__})"}


def mail_of(raw: bytes, *, is_event: bool) -> dict[str, Any]:
    """Return the relevant headers, cut, and the text: the plain part, or the text of the HTML part if there is none.

    An event's text is only in `content`, which is empty for a reply.
    """
    if headers_end(raw) > HEADERS_LENGTH:
        raise UnreadableError(f"its headers are longer than {HEADERS_LENGTH // 1024} KiB")
    mail: Message = message_from_bytes(raw)
    headers: dict[str, list[str]] = {}
    for name, value in mail.raw_items():
        headers.setdefault(name.lower(), []).append(clean(str(value)))
    return {
        "recipients": [value for name in RECIPIENTS for value in headers.get(name, ())],
        "first": {name: headers[name][0][:HEADER_LENGTH] for name in ONCE if name in headers},
        "lists": {name: [value[:HEADER_LENGTH] for value in headers.get(name, ())][:MAX_PARTS] for name in EACH},
        "marks": [name for name in MARKS if name in headers],
        "type": mail.get_content_type()[:HEADER_LENGTH],
        "text": "" if is_event else text_of(mail),
        "content": content_of_mail(mail, mail_items(mail)) if is_event else {},
    }


def mail_items(mail: Message) -> list[tuple[str, str]]:
    """Return names and values of the headers as they came."""
    return [(name, str(value)) for name, value in mail.raw_items()]


def headers_end(raw: bytes) -> int:
    """Return the offset in bytes of the first empty line."""
    ends = [offset for mark in (b"\n\n", b"\n\r\n", b"\r\r") if (offset := raw.find(mark)) >= 0]
    return min(ends, default=len(raw))


def text_of(mail: Message) -> str:
    """Return the text of a mail, cut."""
    parts = list(bodies(mail))
    plain = next((content_of(part) for subtype, part in parts if subtype == "plain"), "")
    if plain.strip():
        return plain[:TEXT_LENGTH]
    html = next((content_of(part) for subtype, part in parts if subtype == "html"), "")
    return read_html(html)[:TEXT_LENGTH]  # type: ignore[no-any-return]  # a module that was loaded by its path


def bodies(mail: Message) -> Iterator[tuple[str, Message]]:
    """Yield the text parts that are not attachments, with their subtypes, in order."""
    waiting = [mail]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        part = waiting.pop()
        if str(part.get("Content-Disposition", "")).partition(";")[0].strip().lower() == "attachment":
            continue
        kind, _, subtype = part.get_content_type().partition("/")
        if kind == "text":
            yield subtype, part
        elif kind == "multipart" and isinstance(inner := part.get_payload(), list):
            # The first part of multipart/related is the text; the others are its pictures.
            children = inner[:1] if subtype == "related" else inner[:MAX_PARTS]
            waiting += [child for child in reversed(children) if isinstance(child, Message)]


def content_of(part: Message) -> str:
    """Return the text of a part; an unknown charset is read as UTF-8, since commands are ASCII in most charsets."""
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        return ""
    try:
        text = raw.decode(charset_of(part), "replace")
    except (LookupError, ValueError):
        text = raw.decode("utf-8", "replace")
    return clean(text[: 4 * TEXT_LENGTH])


def charset_of(part: Message) -> str:
    """Return the charset that a part declares; UTF-8 if it declares none."""
    for parameter in str(part.get("Content-Type", ""))[:HEADER_LENGTH].split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'").lower() or "utf-8"
    return "utf-8"


def clean(text: str) -> str:
    """Return the text without characters that can be neither stored nor sent."""
    try:
        raw = text.encode("utf-8", "surrogateescape")  # non-ASCII bytes of a header
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "replace")
    return raw.decode("utf-8", "replace").replace("\x00", "")


if __name__ == "__main__":
    main()
