"""E-mail: plain text and HTML through Django's mail API, wherever EMAIL_URL leads."""

import contextlib
import re
import smtplib
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.header import Header
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.message import sanitize_address
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from alerting.states import Action
from escalation.channels import message_text, smtp
from escalation.channels.base import AlertSnapshot, BridgeSnapshot, Bundle, DeliveryError, Message
from escalation.channels.message_kinds import INFORMING, MessageKind
from heartbeat_project.kernel.database import release_connection
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.wording import A_WHILE, folded, moment, one_line, silent_since, zone

_Kind = MessageKind
_TAGS: Final = {
    _Kind.RECOVERY: "Recovered",
    _Kind.LAST_RESORT: "Nobody was reached",
    _Kind.ASSIGNMENT: "Assigned to you",
    _Kind.REMINDER: "Still yours?",
}
# Seconds for which an unused connection is kept: many servers and firewalls drop it after some time.
IDLE_SECONDS: Final = 5.0
# The code with which a server closes a connection (RFC 5321, 4.2.3).
CONNECTION_CLOSED: Final = 421
# RFC 3463: class, subject and detail, at the beginning of the text.
ENHANCED: Final = re.compile(r"\W*([245])\.(\d{1,3})\.(\d{1,3})\b")
ABOUT_SENDER: Final = re.compile(r"\bsender\b(?!@)")
NO_SUCH_USER: Final = re.compile(
    r"no such (user|recipient|mailbox|address|person)|(user|recipient|mailbox|address|account) "
    r"(is |was )?(unknown|not found|does not exist|doesn't exist)|unknown (user|recipient|mailbox|address|account)"
)


class EmailChannel:
    """One connection to the mail server, opened at the first message and used while others follow soon."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._used_at = 0.0

    def send(self, message: Message) -> str:
        """Send the message and return its Message-ID."""
        mail = compose(message)
        release_connection()
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self.close()
        reused = self._connection is not None
        try:
            try:
                self._send(mail)
            except (smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException) as error:
                if not reused or not self._was_closed(error):
                    raise
                # The server had closed the connection since the message before: that is no failure of this one.
                self.close()
                self._send(mail)
        except Exception as error:
            of_host, handed_over = self._is_of_host(error), self._was_handed_over()
            self.close()
            failure = _delivery_error(error, mail, handed_over=handed_over)
            failure.of_host = of_host
            raise failure from error
        self._used_at = time.monotonic()
        return str(mail.extra_headers["Message-ID"])

    def close(self) -> None:
        """Close the connection; errors are ignored, since no mail depends on it any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def _send(self, mail: EmailMultiAlternatives) -> None:
        if self._connection is None:
            self._connection = get_connection()
            self._connection.open()
        mail.connection = self._connection
        if not mail.send():
            raise DeliveryError("The mail server took no recipient.", permanent=True)

    def _is_of_host(self, error: Exception) -> bool:
        """Return whether the server as a whole failed: before MAIL, or without an answer to MAIL."""
        if isinstance(error, DeliveryError):
            return error.of_host
        stage = getattr(self._connection, "stage", smtp.RCPT)
        if not isinstance(error, OSError) or stage in smtp.ABOUT_THE_MAIL:
            return False
        return stage != smtp.MAIL or not isinstance(error, smtplib.SMTPResponseException)

    def _was_handed_over(self) -> bool:
        """Return whether the whole message was sent: then it may have been taken, whatever happens next."""
        return bool(getattr(self._connection, "stage", "") == smtp.END_OF_DATA)

    def _was_closed(self, error: smtplib.SMTPException) -> bool:
        """Return whether the server had closed the connection before it took the message."""
        if isinstance(error, smtplib.SMTPResponseException):
            return error.smtp_code == CONNECTION_CLOSED
        return not self._was_handed_over()


class Mail(EmailMultiAlternatives):
    """A mail whose subject begins in the first line of its header."""

    def message(self, **options: Any) -> Any:
        """Return the mail for SMTP. Django leaves no room for “Subject: ”, so the next line would begin it."""
        message = super().message(**options)
        if not str(self.subject).isascii():
            message.replace_header("Subject", Header(str(self.subject), "utf-8", header_name="Subject").encode())
        return message


def compose(message: Message) -> EmailMultiAlternatives:
    """Return the mail for a message: subject, text and HTML in the reader's time zone, and its headers."""
    words = _words(message)
    headers = {
        "Message-ID": f"<{message.id}@{_host()}>",
        "Auto-Submitted": "auto-generated",
    }
    if message.alert is not None:
        headers["X-Heartbeat-Alert"] = str(message.alert.id)
        # Mail programs show the mails of one alert as one conversation.
        headers["References"] = f"<alert-{message.alert.id}@{_host()}>"
    if _is_important(message):
        # Most mail programs read the first header, older ones the second.
        headers["Importance"], headers["X-Priority"] = "high", "1"
    template = "bundle" if message.bundle else "taken" if message.to_owner else str(message.kind)
    reply_to = message.reply_address if words.get("respond") and not message.bundle else ""
    mail = Mail(
        subject=one_line(words["subject"]),
        body=folded(re.sub(r"\n{3,}", "\n\n", render_to_string(f"mail/{template}.txt", words)).strip()) + "\n",
        to=[message.address],
        reply_to=[reply_to] if reply_to else None,
        headers=headers,
    )
    mail.attach_alternative(render_to_string(f"mail/{template}.html", words), "text/html")
    return mail


def _is_important(message: Message) -> bool:
    """Return whether the mail asks for something to be done about a Critical or High alert that is not closed."""
    if message.kind in INFORMING:
        return False
    alerts = message.bundle.listed if message.bundle else [message.alert] if message.alert else []
    return any(alert.closed_at is None and (alert.is_urgent or message.kind == _Kind.LAST_RESORT) for alert in alerts)


def _words(message: Message) -> dict[str, Any]:
    """Return the context of the templates."""
    words: dict[str, Any] = {
        "reader": one_line(message.reader),
        "reason": message.text,
        # The text of a last resort has two lines: what to do, and why.
        "to_do": message.text.partition("\n")[0],
        "why": message.text.partition("\n")[2],
        "linked_reason": _linked(message.text),
        "subject": message.subject,
        "headline": message.subject,
        "zone_name": message.time_zone,
        "base_url": settings.BASE_URL,
        "days": settings.RESPOND_DAYS,
        "by_mail": bool(settings.REPLY_ADDRESS),
    }
    local = zone(message.time_zone)
    if message.bundle:
        return words | _bundle_words(message, message.bundle, local=local)
    alert = message.alert
    if alert is None:
        return words
    choices = _choices(message)
    headline = one_line(alert.subject)
    tag = _TAGS.get(message.kind, alert.status_label)
    return words | {
        "headline": headline,
        "name": one_line(alert.source_name),
        "tag": tag,
        "subject": message_text.recovered(alert) if message.kind == _Kind.RECOVERY else message_text.tagged(tag, alert),
        "alert": alert,
        "link": f"{settings.BASE_URL}/alerts/{alert.id}/",
        "respond": message.respond_url if choices else "",
        "choices": choices,
        "to_owner": message.to_owner,
        "overdue": _overdue(alert, at=message.at),
        "closed": moment(alert.closed_at, zone=local) if alert.closed_at else "",
        "rows": _rows(alert, at=message.at, local=local),
        "bridge": _bridge(alert.bridge),
        "next": message.next_text,
        "silent": _silent(alert, at=message.at, local=local),
    }


def _linked(text: str) -> SafeString:
    """Return the text as HTML with links for our own addresses, and for no others."""
    ours = re.compile(rf"{re.escape(escape(settings.BASE_URL))}/[\w/.-]*[\w/]")
    return mark_safe(ours.sub(r'<a href="\g<0>">\g<0></a>', escape(text)))  # noqa: S308 - escaped, and then ours alone


def _bundle_words(message: Message, bundle: Bundle, *, local: Any) -> dict[str, Any]:
    """Return the context of a mail about many alerts: the most urgent ones, and how many more there are."""
    recovered = message.kind == _Kind.RECOVERY
    count = bundle.count
    overdue = [alert.expected_at for alert in bundle.listed if alert.expected_at and not recovered]
    headlines = {
        _Kind.RECOVERY: bundle.summary,
        _Kind.LAST_RESORT: f"{count} alerts reached nobody",
        _Kind.ASSIGNMENT: f"{count} alerts were assigned to you",
        _Kind.REMINDER: f"{count} alerts that you have are not over",
    }
    tag = _TAGS.get(message.kind, "Open")
    return {
        "headline": headlines.get(message.kind, f"{count} alerts are open"),
        "tag": tag,
        "subject": message_text.title(message)
        if recovered or bundle.only_tests
        else message_text.urgent(f"[{tag}] {message.subject}", bundle),
        "to_owner": message.to_owner,
        "next": "Each alert goes on to the next people by itself, until somebody takes it or its signal comes back."
        if message.kind == _Kind.PAGE
        else "",
        "recovered": recovered,
        "why": bundle.reason,
        "first": moment(min(overdue), zone=local) if overdue else "",
        "may_answer": recovered or bool(message.allowed_actions),
        "bundled": [
            {
                "name": f"#{alert.id} {one_line(alert.known_as)}",
                "subject": one_line(alert.subject),
                "link": alert.respond_url or f"{settings.BASE_URL}/alerts/{alert.id}/",
                "overdue": _overdue(alert, at=message.at),
                "opened": moment(alert.opened_at, zone=local),
                "priority": alert.priority_label,
            }
            for alert in bundle.listed
        ],
        "count": count,
        "more": count - len(bundle.listed),
        "link": bundle.link,
        "respond": message.respond_url,
        "alert": True,  # times are shown
    }


def _choices(message: Message) -> list[dict[str, str]]:
    """Return a caption and a link for each allowed action; the link opens the page on which it is the first button."""
    return [
        {"caption": allowed.caption, "link": f"{message.respond_url}?do={allowed.action}"}
        for allowed in message.allowed_actions
        if allowed.action is not Action.REPLY
    ]


def _silent(alert: AlertSnapshot, *, at: datetime, local: Any) -> str:
    """Say since when the heartbeat has been silent and when it was expected; "" for other alerts."""
    if alert.expected_at is None:
        return ""
    last = next((fact["at"] for fact in alert.facts if fact.get("label") == "Last ping" and "at" in fact), None)
    return silent_since(
        datetime.fromisoformat(last) if last else None, expected_at=alert.expected_at, at=at, zone=local
    )


def _rows(alert: AlertSnapshot, *, at: datetime, local: Any) -> list[tuple[str, str]]:
    """Return the facts of the alert as pairs of label and text."""
    rows = [(one_line(str(fact.get("label", ""))), _fact(fact, local=local)) for fact in alert.facts]
    if alert.expected_at is not None:
        rows.append(("Overdue", _how_long(at - alert.expected_at)))
    if alert.url:
        rows.append(("Link", one_line(alert.url)))
    rows.append(("Priority", alert.priority_label))
    rows.append(("Alert opened", moment(alert.opened_at, zone=local)))
    if alert.acknowledged_at and alert.acknowledged_by:
        by = one_line(alert.acknowledged_by)
        rows.append(("Acknowledged", f"{moment(alert.acknowledged_at, zone=local)} by {by}"))
    return rows


def _fact(fact: Mapping[str, Any], *, local: Any) -> str:
    if "at" in fact:
        return moment(datetime.fromisoformat(str(fact["at"])), zone=local)
    return one_line(str(fact.get("text", "")))


def _overdue(alert: AlertSnapshot, *, at: datetime) -> str:
    """Say how long the signal has been overdue at `at`, or was when it came back; "" for other alerts."""
    if alert.expected_at is None:
        return ""
    if alert.closed_at is not None:
        return in_words(alert.closed_at - alert.expected_at)
    return _how_long(at - alert.expected_at)


def _how_long(late: timedelta) -> str:
    return in_words(late) if late >= A_WHILE else "less than a minute"


def _bridge(bridge: BridgeSnapshot | None) -> dict[str, str]:
    if bridge is None:
        return {}
    fields = ("name", "phone_number", "access_code", "meeting_url")
    return {field: one_line(getattr(bridge, field)) for field in fields}


def _host() -> str:
    """Return the domain of the Message-ID."""
    host = urlsplit(settings.BASE_URL).hostname or ""
    return host if host.isascii() and host and ":" not in host else "heartbeat.invalid"


def _delivery_error(error: Exception, mail: EmailMultiAlternatives, *, handed_over: bool) -> DeliveryError:
    """Return the failure as a DeliveryError with the server's own words.

    An error of the conversation may not come again at the next try; a mail that cannot be written never can be.
    """
    if isinstance(error, DeliveryError):
        return error
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = list(error.recipients.values())
        permanent = bool(answers) and all(code >= 500 for code, _ in answers)
        unknown = bool(answers) and all(_is_unknown(code, error_text) for code, error_text in answers)
        error_text = "; ".join(_answer(code, error_text) for code, error_text in answers)
        return DeliveryError(error_text, permanent=permanent, bad_address=unknown)
    if isinstance(error, smtplib.SMTPResponseException):
        # After DATA a 5xx is about this message; before, it is about our sign-in or sender, which can be mended.
        after_data = isinstance(error, smtplib.SMTPDataError)
        # Some servers look the mailbox up only after DATA.
        unknown = after_data and _is_unknown(error.smtp_code, error.smtp_error)
        permanent = after_data and error.smtp_code >= 500
        return DeliveryError(_answer(error.smtp_code, error.smtp_error), permanent=permanent, bad_address=unknown)
    error_text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    # The kind of an error does not say where it was raised: an untrusted certificate is a ValueError, too.
    is_of_conversation = isinstance(error, OSError | smtplib.SMTPException)
    return DeliveryError(error_text, permanent=not (is_of_conversation or _can_be_written(mail)), uncertain=handed_over)


def _can_be_written(mail: EmailMultiAlternatives) -> bool:
    try:
        for address in (mail.from_email, *mail.recipients()):
            sanitize_address(address, settings.DEFAULT_CHARSET)
        mail.message().as_bytes()
    except Exception:  # noqa: BLE001 - whatever the error is, it comes again at each try
        return False
    return True


def _is_unknown(code: int, reply: bytes | str) -> bool:
    """Return whether the mail server says that there is no such address (RFC 3463: class 5, subject 1).

    5.1.7 and 5.1.8 are about the sender's address; some servers use 5.1.0. Without such a code the text decides.
    """
    text = _text(reply).lower()
    status_code = ENHANCED.match(text)
    if code < 500 or ABOUT_SENDER.search(text):
        return False
    if status_code is None:
        return NO_SUCH_USER.search(text) is not None
    return (status_code[1], status_code[2]) == ("5", "1") and status_code[3] not in {"7", "8"}


def _answer(code: int, reply: bytes | str) -> str:
    return f"{code} {_text(reply)}"


def _text(reply: bytes | str) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
