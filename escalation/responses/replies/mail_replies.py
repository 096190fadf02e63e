"""Read reply mails in a confined child, many at once, and act on them one by one."""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

from escalation.engine.notices import email_to
from escalation.models.notifications import Notification
from escalation.responses import tokens
from escalation.responses.replies.answer_replies import answer_mail
from escalation.responses.respond import ResponseOutcome
from escalation.responses.selectors import notifications_in
from heartbeat_project.kernel.confined import Limits, Overrun, run_confined
from heartbeat_project.kernel.ids import digest
from heartbeat_project.kernel.wakeup import wake_on_commit


def write_answer(notification: Notification, *, answer_text: str, now: datetime) -> None:
    """Queue a mail with the answer to a reply, to the same contact method."""
    if notification.contact_method is None or notification.user is None or not notification.user.is_active:
        return
    row = email_to(
        notification.contact_method,
        kind=Notification.Kind.NOTICE,
        organization_id=notification.organization_id,
        now=now,
    )
    row.subject, row.text = f"Re: alert #{notification.alert_id}", answer_text
    row.save(force_insert=True)
    wake_on_commit("escalation.deliver_due", queue="delivery")


# A child stops by itself after 1.5 s; these limits are for a single call of a library that does not return.
LIMITS: Final = Limits(cpu_seconds=4, memory_mib=256, seconds=10.0, answer_bytes=16 * 1024 * 1024)
_CHILD: Final = Path(__file__).with_name("mail_child.py")
_IS_EVENT: Final = 1 << 63  # as in the child
_BULK: Final = frozenset({"bulk", "junk", "list", "auto_reply"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadMail:
    """The relevant content of a mail, each part cut to the length that `mail_child` states."""

    recipients: Sequence[str] = ()
    first: Mapping[str, str] = field(default_factory=dict)  # headers by name in lower case
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    marks: Sequence[str] = ()
    type: str = "text/plain"
    text: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)  # of an event, see `mail_content`
    fault: str = ""  # why it cannot be read; all other fields are empty then

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Parse the line of JSON that the child wrote for a mail."""
        fields: dict[str, Any] = json.loads(line)
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Reading:
    """The mails that the child has read, the first of the batch; `died` says why it ended at the next one.

    If `died` is empty, the remaining mails were not begun.
    """

    mails: Sequence[ReadMail]
    died: str = ""


@dataclass(frozen=True, slots=True)
class Handled:
    """The result of a mail: the answer, whether its action was carried out, its alert and its organization."""

    answer_text: str
    done: bool = False
    alert_id: int | None = None
    organization_id: int | None = None


def read_mails(raws: Sequence[bytes], *, events: Container[int] = ()) -> Reading:
    """Read mails in a confined child; those at the places `events` with all of their content.

    Raises OSError if no process can be started.
    """
    question = b"".join(
        (len(raw) | (_IS_EVENT if place in events else 0)).to_bytes(8) + raw for place, raw in enumerate(raws)
    )
    try:
        answer, died = run_confined(_CHILD, question, limits=LIMITS), ""
    except Overrun as error:
        answer, died = error.answer, str(error)
    # The text after the last line break is an incomplete line.
    lines = answer.split(b"\n")[:-1]
    if not (lines or died):
        died = "the parser gave no answer"
    return Reading([ReadMail.from_line(line) for line in lines], died)


def answer_read_mail(mail: ReadMail, *, now: datetime) -> Handled:
    """Carry out the action that a mail asks for, and queue the answer to its sender.

    All of it is in the caller's transaction. A mail that is delivered twice is answered once.
    """
    if _is_automatic(mail):
        return Handled("Nothing was done: this mail was sent automatically.")
    message_id = _answered(mail.recipients)
    notification = _only_notification(message_id)
    if notification is None:
        return Handled("Nothing was done: this mail is not a reply to a message of Heartbeat.")
    reference = digest(mail.first.get("message-id", "").strip() or str(message_id))
    result = answer_mail(notification, mail.text, reference=reference[:40], now=now)
    if result.outcome is not ResponseOutcome.ALREADY:
        write_answer(notification, answer_text=result.answer_text, now=now)
    return Handled(
        result.answer_text,
        done=result.outcome is ResponseOutcome.DONE,
        alert_id=notification.alert_id,
        organization_id=notification.organization_id,
    )


def message_named_in(raw: bytes) -> UUID | None:
    """Return the id of the message whose reply address stands in the headers of an unparsed mail; None without one.

    Only people who received a message know such an address, so that mails of strangers are never parsed.
    """
    head = raw[: tokens.HEADER_LENGTH]
    ends = [offset for mark in (b"\n\n", b"\n\r\n", b"\r\r") if (offset := head.find(mark)) >= 0]
    return tokens.read_address(head[: min(ends, default=len(head))].decode("ascii", "replace"))


def organization_of_message(message_id: UUID | None) -> int | None:
    """Return the id of the organization that sent a message; None if it is unknown or about many alerts."""
    notification = _only_notification(message_id)
    return notification.organization_id if notification is not None else None


def _only_notification(message_id: UUID | None) -> Notification | None:
    """Return the only notification of a message; None if there are several, which no mail can answer."""
    notifications = list(notifications_in(message_id)[:2]) if message_id else []
    return notifications[0] if len(notifications) == 1 else None


def _answered(recipients: Sequence[str]) -> UUID | None:
    """Return the id of the message that a mail answers, by the signed tag of a recipient's address."""
    return next(filter(None, map(tokens.read_address, recipients)), None)


def _is_automatic(mail: ReadMail) -> bool:
    """Return whether a mail was sent automatically: a vacation note, bounce, list or ticket system (RFC 3834)."""
    submitted = {_word(value) for value in mail.lists.get("auto-submitted", ())}
    if submitted - {"no"} or _BULK & {_word(value) for value in mail.lists.get("precedence", ())}:
        return True
    return mail.first.get("return-path", "").strip() == "<>" or mail.type == "multipart/report" or bool(mail.marks)


def _word(value: str) -> str:
    """Return the value of a header in lower case, without parameters and comments."""
    outside, depth = [], 0
    for character in value.partition(";")[0]:
        depth += character == "("
        if not depth:
            outside.append(character)
        depth = max(0, depth - (character == ")"))
    return "".join(outside).strip().lower()
