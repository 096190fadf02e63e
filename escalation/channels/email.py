"""E-mail: plain text and HTML through Django's mail API, wherever EMAIL_URL leads."""

import contextlib
import re
import smtplib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from alerting.models import Alert, Bridge
from alerting.states import Action, Status
from escalation import links
from escalation.channels import texts
from escalation.channels.base import Bundle, DeliveryError, Message, let_go_of_the_database
from escalation.models import Notification
from escalation.selectors import ASKING, TO_OWNER
from escalation.services.offers import caption, offered_in
from escalation.wording import folded, moment, one_line, what_next, zone
from heartbeat_project.kernel.durations import in_words

_Kind = Notification.Kind
_TAGS: Final = {
    _Kind.RECOVERY: "Recovered",
    _Kind.LAST_RESORT: "Nobody was reached",
    _Kind.ASSIGNMENT: "Assigned to you",
    _Kind.REMINDER: "Still yours?",
}
# What a server says when it has closed, or is about to close, a connection that stood open.
CONNECTION_CLOSED: Final = 421
# RFC 3463: class, subject and detail, at the beginning of the text.
ENHANCED: Final = re.compile(r"\W*([245])\.(\d{1,3})\.(\d{1,3})\b")
ABOUT_SENDER: Final = re.compile(r"\bsender\b(?!@)")
NO_SUCH_USER: Final = re.compile(
    r"no such (user|recipient|mailbox|address|person)|(user|recipient|mailbox|address|account) "
    r"(is |was )?(unknown|not found|does not exist|doesn't exist)|unknown (user|recipient|mailbox|address|account)"
)


class EmailChannel:
    """One connection to the mail server, opened at the first message and used for all of a round."""

    def __init__(self) -> None:
        self._connection: Any = None

    def send(self, message: Message) -> str:
        """Send the message and return its Message-ID."""
        mail = compose(message)
        let_go_of_the_database()
        reused = self._connection is not None
        try:
            try:
                self._send(mail)
            except (smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException) as error:
                if not reused or getattr(error, "smtp_code", CONNECTION_CLOSED) != CONNECTION_CLOSED:
                    raise
                # The server had closed the connection since the message before: that is no failure of this one.
                self.close()
                self._send(mail)
        except Exception as error:
            self.close()
            raise _understood(error) from error
        return str(mail.extra_headers["Message-ID"])

    def close(self) -> None:
        """Close the connection; what goes wrong with that does not matter any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def _send(self, mail: EmailMultiAlternatives) -> None:
        if self._connection is None:
            connection = get_connection()
            connection.open()
            self._connection = connection
        mail.connection = self._connection
        if not mail.send():
            raise DeliveryError("The mail server took no recipient.", permanent=True)


def compose(message: Message) -> EmailMultiAlternatives:
    """Return the mail for a message: subject, text and HTML in the reader's time zone, and its headers."""
    words = _words(message)
    headers = {
        "Message-ID": f"<{message.id}@{_host()}>",
        "Auto-Submitted": "auto-generated",
    }
    if message.alert is not None:
        headers["X-Heartbeat-Alert"] = str(message.alert.pk)
        # Mail programs show the mails of one alert as one conversation.
        headers["References"] = f"<alert-{message.alert.pk}@{_host()}>"
    template = "bundle" if message.bundle else "taken" if message.kind in TO_OWNER else message.kind
    reply_to = links.reply_address(message.id) if words.get("respond") and not message.bundle else ""
    mail = EmailMultiAlternatives(
        subject=one_line(words["subject"]),
        body=folded(re.sub(r"\n{3,}", "\n\n", render_to_string(f"mail/{template}.txt", words)).strip()) + "\n",
        to=[message.address],
        reply_to=[reply_to] if reply_to else None,
        headers=headers,
    )
    mail.attach_alternative(render_to_string(f"mail/{template}.html", words), "text/html")
    return mail


def _words(message: Message) -> dict[str, Any]:
    """Return what the templates say."""
    words: dict[str, Any] = {
        "reader": one_line(message.reader),
        "reason": message.text,
        # Of a last resort: what to do, and on the next line why.
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
    tag = _TAGS.get(_Kind(message.kind), alert.get_status_display())
    return words | {
        "headline": headline,
        "name": one_line(alert.source_name),
        "tag": tag,
        "subject": f"[{tag}] {one_line(alert.source_name)}"
        if message.kind == _Kind.RECOVERY
        else texts.tagged(tag, alert),
        "alert": alert,
        "link": f"{settings.BASE_URL}/alerts/{alert.pk}/",
        "respond": links.page_url(message.id) if choices else "",
        "choices": choices,
        "to_owner": message.kind in TO_OWNER,
        "overdue": _overdue(alert, at=message.at),
        "closed": moment(alert.closed_at, zone=local) if alert.closed_at else "",
        "rows": _rows(alert, at=message.at, local=local),
        "bridge": _bridge(alert.bridge),
        "next": _next(message, alert, local=local),
    }


def _next(message: Message, alert: Alert, *, local: Any) -> str:
    """Say what happens if the reader does nothing; who asked for help has the alert, or put it on hold."""
    if alert.status == Status.ASSIGNED and alert.owner:
        return f"{one_line(str(alert.owner))} has this alert. Its escalation does not go on while that is so."
    if alert.status == Status.ON_HOLD:
        return "This alert is on hold. Its escalation does not go on until it is resumed."
    return what_next(message.coming, ends_when=alert.ends_when, at=message.at, zone=local)


def _linked(text: str) -> SafeString:
    """Return the text as HTML in which our own addresses can be followed, and nobody else's."""
    ours = re.compile(rf"{re.escape(escape(settings.BASE_URL))}/[\w/.-]*[\w/]")
    return mark_safe(ours.sub(r'<a href="\g<0>">\g<0></a>', escape(text)))  # noqa: S308 - escaped, and then ours alone


def _bundle_words(message: Message, bundle: Bundle, *, local: Any) -> dict[str, Any]:
    """Return what a message about many alerts says; it names the most urgent and how many more there are."""
    recovered = message.kind == _Kind.RECOVERY
    count = bundle.count
    overdue = [alert.expected_at for alert in bundle.listed if alert.expected_at and not recovered]
    respond = not recovered and bool(offered_in(message.id))
    headlines = {
        _Kind.RECOVERY: f"{count} heartbeats have recovered",
        _Kind.LAST_RESORT: f"{count} alerts reached nobody",
        _Kind.ASSIGNMENT: f"{count} alerts were assigned to you",
        _Kind.REMINDER: f"{count} alerts that you have are not over",
    }
    tag = _TAGS.get(_Kind(message.kind), "Open")
    return {
        "headline": headlines.get(_Kind(message.kind), f"{count} alerts are open"),
        "tag": tag,
        "subject": message.subject if bundle.only_tests else f"[{tag}] {message.subject}",
        "to_owner": message.kind in TO_OWNER,
        "recovered": recovered,
        "why": bundle.reason,
        "longest": in_words(message.at - min(overdue)) if overdue else "",
        "bundled": [
            {
                "name": one_line(alert.source_name),
                "subject": one_line(alert.subject),
                "link": links.page_url(message.id, alert_id=alert.pk)
                if respond
                else f"{settings.BASE_URL}/alerts/{alert.pk}/",
                "overdue": _overdue(alert, at=message.at),
                "opened": moment(alert.opened_at, zone=local),
                "priority": alert.get_priority_display(),
            }
            for alert in bundle.listed
        ],
        "count": count,
        "more": count - len(bundle.listed),
        "link": bundle.link,
        "respond": links.page_url(message.id) if respond else "",
        "alert": True,  # times are shown
    }


def _choices(message: Message) -> list[dict[str, str]]:
    """Return what the reader can do from this mail: each leads to the page where it is the first button."""
    if message.kind not in ASKING:
        return []
    page = links.page_url(message.id)
    buttons = [action for action in offered_in(message.id) if action is not Action.REPLY]
    to_owner = message.kind in TO_OWNER
    return [{"caption": caption(action, to_owner=to_owner), "link": f"{page}?do={action}"} for action in buttons]


def _rows(alert: Alert, *, at: datetime, local: Any) -> list[tuple[str, str]]:
    """Return what is known about the alert as label and text."""
    rows = [(one_line(str(fact.get("label", ""))), _fact(fact, local=local)) for fact in alert.facts]
    if overdue := _overdue(alert, at=at):
        rows.append(("Overdue", overdue))
    rows.append(("Priority", alert.get_priority_display()))
    rows.append(("Alert opened", moment(alert.opened_at, zone=local)))
    if alert.acknowledged_at and alert.acknowledged_by:
        by = one_line(str(alert.acknowledged_by))
        rows.append(("Acknowledged", f"{moment(alert.acknowledged_at, zone=local)} by {by}"))
    return rows


def _fact(fact: Mapping[str, Any], *, local: Any) -> str:
    if "at" in fact:
        return moment(datetime.fromisoformat(str(fact["at"])), zone=local)
    return one_line(str(fact.get("text", "")))


def _overdue(alert: Alert, *, at: datetime) -> str:
    """Say how long the signal has been overdue, at the moment of sending, or was until it came back."""
    if alert.expected_at is None:
        return ""
    return in_words((alert.closed_at or at) - alert.expected_at)


def _bridge(bridge: Bridge | None) -> dict[str, str]:
    if bridge is None:
        return {}
    fields = ("name", "phone_number", "access_code", "meeting_url")
    return {field: one_line(getattr(bridge, field)) for field in fields}


def _host() -> str:
    """Return the part of the Message-ID that names us."""
    host = urlsplit(settings.BASE_URL).hostname or ""
    return host if host.isascii() and host and ":" not in host else "heartbeat.invalid"


def _understood(error: Exception) -> DeliveryError:
    """Return what the failure means: whether trying again can help, and the provider's own words."""
    if isinstance(error, DeliveryError):
        return error
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = list(error.recipients.values())
        permanent = bool(answers) and all(code >= 500 for code, _ in answers)
        unknown = bool(answers) and all(_is_unknown(code, said) for code, said in answers)
        said = "; ".join(_answer(code, said) for code, said in answers)
        return DeliveryError(said, permanent=permanent, bad_address=unknown)
    if isinstance(error, smtplib.SMTPResponseException):
        # After DATA a 5xx is about this message; before, it is about our sign-in or sender, which can be mended.
        after_data = isinstance(error, smtplib.SMTPDataError)
        # Some servers look for the mailbox only when they have the message.
        unknown = after_data and _is_unknown(error.smtp_code, error.smtp_error)
        permanent = after_data and error.smtp_code >= 500
        return DeliveryError(_answer(error.smtp_code, error.smtp_error), permanent=permanent, bad_address=unknown)
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    # A message that cannot be written as mail will not be better next time; whatever else fails may.
    return DeliveryError(said, permanent=isinstance(error, ValueError))


def _is_unknown(code: int, said: bytes | str) -> bool:
    """Answer whether the mail server says that there is no such address (RFC 3463: class 5, subject 1).

    5.1.7 and 5.1.8 are about the sender's address, 5.1.0 is in some servers. Without such a code the words count.
    """
    words = _text(said).lower()
    found = ENHANCED.match(words)
    if code < 500 or ABOUT_SENDER.search(words):
        return False
    if found is None:
        return NO_SUCH_USER.search(words) is not None
    return (found[1], found[2]) == ("5", "1") and found[3] not in {"7", "8"}


def _answer(code: int, said: bytes | str) -> str:
    return f"{code} {_text(said)}"


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
