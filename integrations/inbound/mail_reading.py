"""What an Email integration reads in a mail: trust, loops, extraction, and the default reading (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from integrations.inbound.default_keys import clean_line
from integrations.inbound.event import Action, MailReading
from integrations.inbound.mail_addresses import is_allowed
from integrations.inbound.mail_words import action_of, subject_key
from integrations.inbound.patterns import PatternError, compile_pattern
from integrations.inbound.work import OutOfWorkError, Work

UNTRUSTED: Final = "untrusted"
LOOP: Final = "loop"
# Characters of a text that is extracted, and of the texts in which regular expressions search.
MAX_EXTRACTED: Final = 2_000
MAX_SEARCHED: Final = 20_000
_LONG: Final = 20_000  # of an extracted long text
_PARTS: Final = ("from", "to", "subject", "body", "html", "headers", "spam")
_METHODS: Final = ("spf", "dkim", "dmarc")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """The settings of an integration that only mails have; `host` is the domain of our own Message-IDs."""

    status_words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    every_mail_opens: bool = False
    allowed_senders: Sequence[str] = ()
    require_authenticated: bool = False
    extract: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    authserv_id: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is known of a mail besides its content.

    `key` is what stands behind the plus sign of its address, `thread` the source id of the mail that it answers,
    `sender` that of the SMTP transaction: "<>" for none, "" if it is not known. `unique` differs for each mail.
    """

    key: str = ""
    thread: str = ""
    sender: str = ""
    unique: str = ""


def read(content: Mapping[str, Any], settings: MailSettings, delivery: Delivery) -> tuple[dict[str, Any], MailReading]:
    """Return what templates and rules see of a mail, and what it says by itself."""
    subject, text = str(content.get("subject", "")), str(content.get("body", ""))
    auth = authentication(content.get("authentication_results", ()), settings.authserv_id)
    extracted = extracted_from(content, settings.extract)
    payload = {
        **{
            name: content[name]
            for name in ("from", "to", "subject", "body", "html", "headers", "spam")
            if name in content
        },
        "attachments": content.get("attachments", []),
        "auth": auth,
        "extracted": extracted,
    }
    headline = subject or next((line for line in text.splitlines() if line.strip()), "")
    keys = {"subject": headline}
    about = delivery.key or delivery.thread
    if not about and not settings.every_mail_opens:
        lists = _list_names(str(content.get("headers", {}).get("list-id", "")))
        about = subject_key(headline, settings.status_words, lists=lists)
    elif not about:
        about = delivery.unique
    if about:
        keys["sourceid"] = about
    action = Action.OPEN if settings.every_mail_opens else action_of(subject, text, settings.status_words)
    names = content.get("attachments") or []
    body = extracted.get("long_text") or text
    if names and "long_text" not in extracted:
        body = (
            f"{body[: _LONG - 1_500]}\n\nAttachments, which are not kept: {clean_line(', '.join(names), 1_400)}".strip()
        )
    reading = MailReading(
        action=action,
        keys=keys,
        text=body,
        extracted=[name for name in extracted if name != "long_text"],
        reason=loop_reason(content, delivery.sender, settings.host) or _distrust(content, auth, settings),
    )
    return payload, reading


def loop_reason(content: Mapping[str, Any], sender: str, host: str) -> str:
    """Return "loop" for a mail that answers one automatically, is one of ours, or says that one was not delivered.

    A mail that is only marked as sent by a program is none: monitoring systems mark theirs so.
    """
    headers: Mapping[str, str] = content.get("headers", {})
    submitted = headers.get("auto-submitted", "").partition(";")[0].partition("(")[0].strip().lower()
    is_answer = submitted == "auto-replied" or headers.get("precedence", "").strip().lower() == "auto_reply"
    is_answer = is_answer or "x-autoreply" in headers or "x-autorespond" in headers
    is_own = any(name.startswith("x-heartbeat-") for name in headers)
    ids = [content.get("message_id", ""), *content.get("references", ())[:2]]
    is_own = is_own or any(_is_own_id(str(one), host) for one in ids)
    sender = sender or headers.get("return-path", "").strip()
    is_bounce = sender == "<>" and bool(content.get("is_report"))
    return LOOP if is_answer or is_own or is_bounce else ""


def authentication(results: Sequence[str], authserv_id: str) -> dict[str, str]:
    """Return what the trusted server says of SPF, DKIM and DMARC, such as "pass"; "" for what it does not say.

    The first header with its name counts; a sender can add others below, and without a trusted name none is believed.
    """
    found = dict.fromkeys(_METHODS, "")
    for header in results:
        name, _, rest = header.partition(";")
        if not authserv_id or name.split("(")[0].strip().lower().split(" ")[0] != authserv_id:
            continue
        for statement in rest.split(";")[:20]:
            method, _, result = statement.strip().partition("=")
            method = method.strip().lower()
            words = result.split()
            # One passing signature is enough, as for DMARC itself.
            if method in found and words and found[method] != "pass":
                found[method] = words[0].lower()[:20]
        break
    return found


def extracted_from(content: Mapping[str, Any], rules: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the fields that were found where the rules say, in the order of the rules; the others are left out."""
    work, found = Work(), {}
    for name, rule in rules.items():
        text = _searched(content, rule.get("from", "body"))
        try:
            value = _between(text, rule) if "regex" not in rule else _matched(text, rule["regex"], work)
        except (PatternError, OutOfWorkError):
            continue
        limit = _LONG if name == "long_text" else MAX_EXTRACTED
        if value := value.strip()[:limit]:
            found[name] = value
    return found


def _searched(content: Mapping[str, Any], where: str) -> str:
    kind, _, header = where.partition(":")
    if kind == "header":
        return str(content.get("headers", {}).get(header.strip().lower(), ""))
    return str(content.get("subject" if kind == "subject" else "body", ""))


def _between(text: str, rule: Mapping[str, str]) -> str:
    """Return what stands between two texts: without an end up to the end of the line, without a start from the top."""
    start, end = rule.get("start", ""), rule.get("end", "") or "\n"
    at = text.lower().find(start.lower()) if start else 0
    # A letter whose small form is longer would move what is behind it.
    if at < 0 or len(text.lower()) != len(text):
        at = text.find(start)
    if at < 0:
        return ""
    rest = text[at + len(start) :]
    stop = rest.find(end)
    if stop < 0 and end.strip():
        return ""
    return rest if stop < 0 else rest[:stop]


def _matched(text: str, pattern: str, work: Work) -> str:
    return compile_pattern(pattern, is_capturing=True).part_of(text[:MAX_SEARCHED], work) or ""


def _distrust(content: Mapping[str, Any], auth: Mapping[str, str], settings: MailSettings) -> str:
    """Return "untrusted" if the sender is not allowed, or not authenticated although it must be.

    A look-up that failed for the moment (temperror) is no proof against anybody.
    """
    sender = content.get("from", {}).get("address", "")
    if settings.allowed_senders and not is_allowed(sender, settings.allowed_senders):
        return UNTRUSTED
    if not settings.require_authenticated:
        return ""
    if auth["dmarc"] in {"pass", "temperror"}:
        return ""
    if auth["dmarc"] in {"", "none"} and {"pass", "temperror"} & {auth["spf"], auth["dkim"]}:
        return ""
    return UNTRUSTED


def _list_names(header: str) -> list[str]:
    """Return what a List-Id calls the list: its name in words, its id, and the first part of the id."""
    words, _, rest = header.partition("<")
    name = rest.partition(">")[0]
    return [word for word in (words.strip().strip('"'), name, name.partition(".")[0]) if word]


def _is_own_id(message_id: str, host: str) -> bool:
    """Return whether a Message-ID is one of ours: a UUID at our domain. Others at it may be of jobs on our machine."""
    name, _, domain = message_id.strip("<> ").rpartition("@")
    if not host or domain.lower() != host:
        return False
    try:
        UUID(name)
    except ValueError:
        return False
    return True
