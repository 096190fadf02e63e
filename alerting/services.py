"""What changes alerts: open and close them in sets, and the actions of people, one alert at a time."""

import zoneinfo
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models.functions import Coalesce

from accounts.models import User
from alerting.models import Alert, AlertRecipient, TimelineEntry
from alerting.selectors import has_acknowledged, may_answer
from alerting.states import LIVE, Action, Status, actions_from, step
from heartbeat_project.kernel.errors import DomainError, FieldError
from heartbeat_project.kernel.sql import array, column, records, statement

REASON_LENGTH = 200
LONGEST_HOLD = timedelta(days=31)
_Kind = TimelineEntry.Kind
_LENGTHS: dict[str, int] = {
    field: getattr(Alert, field).field.max_length for field in ("subject", "short_text", "source_name", "source_id")
}


class StateConflict(DomainError):
    """The alert's status does not allow this action, or somebody was faster."""

    code = "alert_state"
    title = "The alert is in another state"
    status = 409


class AlertDraft(NamedTuple):
    """What an alert is opened with: `facts` as Alert.facts describes them, `actor_id` for who opens it by hand.

    `expected_at`, the deadline that passed, is RFC 3339.
    """

    organization_id: int
    subject: str
    short_text: str
    long_text: str
    facts: Sequence[dict[str, Any]]
    source: str
    source_name: str
    source_id: str
    priority: str
    integration_id: int | None = None
    expected_at: str | None = None
    bridge_id: int | None = None
    group_ids: Sequence[int] = ()
    user_ids: Sequence[int] = ()
    actor_id: int | None = None
    is_test: bool = False


def open_alerts(drafts: Sequence[AlertDraft], *, now: datetime) -> list[int]:
    """Open one alert for each draft, with its recipients and the first line of its timeline; return the ids in order.

    Raises django.db.IntegrityError when a heartbeat already has a live alert, or one for the same silence.
    """
    recipients = [
        (number, group_id, user_id)
        for number, draft in enumerate(drafts, start=1)
        for group_id, user_id in (
            *((pk, None) for pk in dict.fromkeys(draft.group_ids)),
            *((None, pk) for pk in dict.fromkeys(draft.user_ids)),
        )
    ]
    parameters: dict[str, Any] = {
        "organizations": array(draft.organization_id for draft in drafts),
        "priorities": column(draft.priority for draft in drafts),
        "subjects": column(_fitted("subject", draft.subject) for draft in drafts),
        "short_texts": column(_fitted("short_text", draft.short_text) for draft in drafts),
        "long_texts": column(draft.long_text for draft in drafts),
        "facts": column(draft.facts for draft in drafts),
        "sources": column(draft.source for draft in drafts),
        "source_names": column(_fitted("source_name", draft.source_name) for draft in drafts),
        "source_ids": column(_fitted("source_id", draft.source_id) for draft in drafts),
        "integrations": array(draft.integration_id for draft in drafts),
        "expected": column(draft.expected_at for draft in drafts),
        "bridges": array(draft.bridge_id for draft in drafts),
        "actors": array(draft.actor_id for draft in drafts),
        "tests": column(draft.is_test for draft in drafts),
        "recipients": array(number for number, _, _ in recipients),
        "groups": array(group_id for _, group_id, _ in recipients),
        "users": array(user_id for _, _, user_id in recipients),
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("alerting", "open_alerts"), parameters)
        return [alert_id for (alert_id,) in cursor.fetchall()]


def close_alerts(
    alert_ids: Sequence[int],
    *,
    reason: str,
    now: datetime,
    actor: User | None = None,
) -> list[int]:
    """Close those of the alerts that are still live, in one statement; return the ids that this call closed."""
    if not alert_ids:
        return []
    reason = reason.strip()[:REASON_LENGTH]
    parameters: dict[str, Any] = {
        "ids": array(alert_ids),
        "now": now,
        "reason": reason,
        "actor": actor.pk if actor else None,
        "text": _ended("Closed", actor, reason),
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("alerting", "close_alerts"), parameters)
        return [alert_id for (alert_id,) in cursor.fetchall()]


def acknowledge(alert: Alert, *, actor: User, now: datetime) -> Alert:
    """Record that `actor` has seen the alert; escalation goes on, unless its policy says otherwise.

    A second time changes nothing and leaves no line: a button is soon pressed twice.
    """
    with transaction.atomic():
        # Held, so that of two clicks at once the second sees the line of the first.
        stored = Alert.objects.select_for_update(no_key=True).get(pk=alert.pk)
        if stored.status in LIVE and has_acknowledged(actor, stored):
            alert.refresh_from_db()
            return alert
        return _move(
            alert,
            Action.ACKNOWLEDGE,
            actor=actor,
            now=now,
            entry=(_Kind.ACKNOWLEDGED, f"Acknowledged by {actor}."),
            acknowledged_at=Coalesce("acknowledged_at", now),
            acknowledged_by_id=Coalesce("acknowledged_by_id", actor.pk),
        )


def assign(alert: Alert, *, actor: User, to: User, now: datetime) -> Alert:
    """Make `to` the owner, which stops the escalation.

    Raises FieldError("user") when `to` cannot take alerts of this organization.
    """
    if to.organization_id != alert.organization_id:
        raise FieldError("user", "There is no such user.", code="does_not_exist")
    _refuse_who_cannot_take(to)
    return _move(
        alert,
        Action.ASSIGN,
        actor=actor,
        now=now,
        entry=(_Kind.ASSIGNED, _assigned(actor, to)),
        owner=to,
        assigned_at=Coalesce("assigned_at", now),
    )


def assign_alerts(alert_ids: Sequence[int], *, actor: User, to: User, now: datetime) -> list[int]:
    """Make `to` the owner of those of the alerts that nobody owns and that are not over, in one statement.

    Returns the ids that this call assigned. Raises FieldError("user") when `to` cannot take alerts.
    """
    _refuse_who_cannot_take(to)
    parameters: dict[str, Any] = {
        "ids": array(alert_ids),
        "organization": to.organization_id,
        "owner": to.pk,
        "actor": actor.pk,
        "now": now,
        "text": _assigned(actor, to),
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("alerting", "assign_alerts"), parameters)
        return [alert_id for (alert_id,) in cursor.fetchall()]


def escalate(alert: Alert, *, actor: User, now: datetime) -> Alert:
    """Let the escalation go on: the owner, or whoever acknowledged, hands the alert on.

    That the next person is told at once is the caller's second half: `escalation.services.engine.hurry`.
    """
    return _move(
        alert,
        Action.ESCALATE,
        actor=actor,
        now=now,
        entry=(_Kind.ESCALATED, f"Escalated by {actor}."),
        owner=None,
        # Otherwise an acknowledgement that stops the escalation would stop this, too. The timeline remembers it.
        acknowledged_at=None,
        acknowledged_by=None,
    )


def reassign(alert: Alert, *, actor: User, now: datetime, text: str) -> Alert:
    """Take the alert from whoever has it, because its escalation begins anew; `text` says where.

    That it begins is the caller's second half: `escalation.services.reassignment`.
    """
    return _move(
        alert,
        Action.REASSIGN,
        actor=actor,
        now=now,
        entry=(_Kind.REASSIGNED, text),
        owner=None,
        acknowledged_at=None,
        acknowledged_by=None,
    )


def add_responders(alert: Alert, *, actor: User, now: datetime, text: str) -> Alert:
    """Record that `actor` asked more people for help; `text` says whom. That they are notified is the caller's part."""
    return _move(alert, Action.ADD_RESPONDERS, actor=actor, now=now, entry=(_Kind.RESPONDERS_ADDED, text))


def unacknowledge(alert: Alert, *, actor: User, now: datetime) -> Alert:
    """Take the acknowledgement back, whoever gave it: an escalation that it had stopped goes on.

    Raises StateConflict when nobody has acknowledged the alert.
    """
    with transaction.atomic():
        stored = Alert.objects.select_for_update(no_key=True).get(pk=alert.pk)
        if stored.status in LIVE and stored.acknowledged_at is None:
            raise StateConflict("Nobody has acknowledged the alert.")
        return _move(
            alert,
            Action.UNACKNOWLEDGE,
            actor=actor,
            now=now,
            entry=(_Kind.UNACKNOWLEDGED, f"The acknowledgement was taken back by {actor}."),
            acknowledged_at=None,
            acknowledged_by=None,
        )


def give_back(alert: Alert, *, actor: User, now: datetime) -> Alert:
    """Let go of an alert that somebody owns: its escalation goes on where it stood."""
    return _move(
        alert,
        Action.GIVE_BACK,
        actor=actor,
        now=now,
        entry=(_Kind.GIVEN_BACK, f"Given back by {actor}."),
        owner=None,
        acknowledged_at=None,
        acknowledged_by=None,
    )


def hold(alert: Alert, *, actor: User, now: datetime, until: datetime | None = None) -> Alert:
    """Pause the escalation until then, or until somebody resumes it; an alert on hold gets another end.

    Raises FieldError("until") when that is not later than now, or further ahead than LONGEST_HOLD.
    """
    if until is not None and not now < until <= now + LONGEST_HOLD:
        raise FieldError("until", f"Choose a time within the next {LONGEST_HOLD.days} days.")
    end = f" until {_when(until, actor)}" if until else ""
    entry = (_Kind.HELD, f"Put on hold{end} by {actor}.")
    return _move(alert, Action.HOLD, actor=actor, now=now, entry=entry, hold_until=until)


def reopen_alerts(lines: Sequence[tuple[int, str]], *, now: datetime) -> list[int]:
    """Open again those of the alerts that are live, without owner and acknowledgement; return their ids.

    `lines` are (alert id, what the timeline says).
    """
    parameters: dict[str, Any] = {
        "lines": records({"alert_id": alert_id, "text": text} for alert_id, text in lines),
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("alerting", "reopen_alerts"), parameters)
        return [alert_id for (alert_id,) in cursor.fetchall()]


def resume(alert: Alert, *, actor: User, now: datetime) -> Alert:
    """End the pause: the alert goes back to its owner, or its escalation goes on."""
    return _move(alert, Action.RESUME, actor=actor, now=now, entry=(_Kind.RESUMED, f"Resumed by {actor}."))


def close(alert: Alert, *, actor: User, now: datetime, reason: str = "") -> Alert:
    """End the alert as done."""
    return _end(alert, Action.CLOSE, actor=actor, now=now, reason=reason, kind=_Kind.CLOSED)


def cancel(alert: Alert, *, actor: User, now: datetime, reason: str = "") -> Alert:
    """End the alert as not needed."""
    return _end(alert, Action.CANCEL, actor=actor, now=now, reason=reason, kind=_Kind.CANCELLED)


def reply(alert: Alert, *, actor: User, now: datetime, text: str) -> Alert:
    """Add a note to the timeline.

    Raises FieldError("text") when there is nothing in it.
    """
    if not text.strip():
        raise FieldError("text", "Write something.", code="blank")
    return _move(alert, Action.REPLY, actor=actor, now=now, entry=(_Kind.REPLIED, text.strip()))


def add_viewers(pairs: Sequence[tuple[int, int]]) -> None:
    """Let people see alerts they are told about: pairs of (alert id, user id), those that exist already included."""
    with connection.cursor() as cursor:
        cursor.execute(
            statement("alerting", "add_viewers"),
            {"alerts": array(alert_id for alert_id, _ in pairs), "users": array(user_id for _, user_id in pairs)},
        )


def add_recipients(alert: Alert, *, group_ids: Iterable[int] = (), user_ids: Iterable[int] = ()) -> None:
    """Address an alert to more groups and users, so that they see it; those who see it already stay."""
    rows = [AlertRecipient(alert=alert, group_id=pk) for pk in group_ids]
    rows += [AlertRecipient(alert=alert, user_id=pk) for pk in user_ids]
    AlertRecipient.objects.bulk_create(rows, ignore_conflicts=True)


def write_timeline(kind: TimelineEntry.Kind, lines: Sequence[tuple[int, str]], *, now: datetime) -> None:
    """Write lines of one kind into timelines, by nobody: pairs of (alert id, text)."""
    with connection.cursor() as cursor:
        cursor.execute(
            statement("alerting", "write_timeline"),
            {
                "lines": records({"alert_id": alert_id, "text": text} for alert_id, text in lines),
                "kind": kind,
                "now": now,
            },
        )


def _refuse_who_cannot_take(to: User) -> None:
    if not to.is_active or to.kind == User.Kind.STAKEHOLDER:
        raise FieldError("user", f"{to} cannot take alerts: choose an active user who is not a stakeholder.")
    if not may_answer(to):
        raise FieldError("user", f"{to} cannot take alerts: no role of theirs lets them see one.")


def _assigned(actor: User, to: User) -> str:
    return f"{actor} took the alert." if to.pk == actor.pk else f"Assigned to {to} by {actor}."


def _end(alert: Alert, action: Action, *, actor: User, now: datetime, reason: str, kind: _Kind) -> Alert:
    reason = reason.strip()[:REASON_LENGTH]
    entry = (kind, _ended(kind.label, actor, reason))
    return _move(alert, action, actor=actor, now=now, entry=entry, closed_at=now, close_reason=reason)


def _move(
    alert: Alert,
    action: Action,
    *,
    actor: User,
    now: datetime,
    entry: tuple[_Kind, str],
    **changes: Any,
) -> Alert:
    """Apply `action` where the alert still is as the caller saw it, with its line in the timeline."""
    old = Status(alert.status)
    new = step(old, action, owned=alert.owner_id is not None)
    if new is None:
        possible = ", ".join(actions_from(old))
        raise StateConflict(
            f"The action “{action}” is not possible: the alert is {Alert.Status(old).label}. Possible are: {possible}.",
        )
    kind, text = entry
    changes = {"hold_until": None} | changes if new != Status.ON_HOLD else changes
    with transaction.atomic():
        unchanged = Alert.objects.filter(pk=alert.pk, status=old, owner_id=alert.owner_id)
        if not unchanged.update(status=new, **changes):
            raise StateConflict("Somebody else changed the alert a moment ago. Look at it again.")
        TimelineEntry.objects.create(alert_id=alert.pk, at=now, kind=kind, actor=actor, text=text)
    alert.refresh_from_db()
    return alert


def _ended(word: str, actor: User | None, reason: str) -> str:
    """Say how an alert ended: “Closed by heartbeat.”, “Closed by Ana.”, “Cancelled by Ana: a test.”"""
    if reason.lower().startswith(f"{word.lower()} by "):
        return f"{word}{reason[len(word) :]}."
    said = f"{word} by {actor}" if actor else word
    return f"{said}: {reason}." if reason else f"{said}."


def _when(at: datetime, reader: User) -> str:
    """Return the time in the person's zone, with its name: others read the line, too."""
    local = at.astimezone(zoneinfo.ZoneInfo(reader.time_zone))
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M %Z}"


def _fitted(field: str, text: str) -> str:
    """Cut what does not fit its column: a long name must not keep an alert from opening."""
    length = _LENGTHS[field]
    return text if len(text) <= length else f"{text[: length - 1]}…"
