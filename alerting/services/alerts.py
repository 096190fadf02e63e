"""Change alerts: open and close sets of them, and apply the actions of people to one alert at a time."""

import zoneinfo
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models.functions import Coalesce

from accounts.models.users import User
from accounts.services.audit import record_audit
from alerting.models.alerts import Alert, AlertRecipient, TimelineEntry
from alerting.selectors import has_acknowledged, may_answer
from alerting.states import LIVE, Action, Status, actions_from, step
from alerting.via import API, CONSOLE, UNSAID, Via
from heartbeat_project.kernel.errors import DomainError, FieldError
from heartbeat_project.kernel.prepared import fetch
from heartbeat_project.kernel.sql import array, column, records, statement

REASON_LENGTH = 200  # characters; the width of the column
LONGEST_HOLD = timedelta(days=31)
_Kind = TimelineEntry.Kind
# The widths of the columns whose texts are cut.
_LENGTHS: dict[str, int] = {
    field: getattr(Alert, field).field.max_length for field in ("subject", "short_text", "source_name", "source_id")
}


class StateConflict(DomainError):
    """The alert's status does not allow this action, or somebody else changed the alert first."""

    code = "alert_state"
    title = "The alert is in another state"
    status = 409


class AlertDraft(NamedTuple):
    """The values of a new alert, as in the fields of Alert.

    `expected_at`, the deadline that passed, is RFC 3339 text. `actor_id` is the person who opens the alert by hand.
    `opened_by` begins the first entry of the timeline: “Opened by Shop (Alertmanager)”. Only alerts that an event opens
    have a `key_hash`, a `url` and a time `closes_at`, which is RFC 3339 text.
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
    integration_type: str = ""
    key_hash: str = ""
    url: str = ""
    closes_at: str | None = None
    opened_by: str = "Opened"


def open_alerts(drafts: Sequence[AlertDraft], *, now: datetime) -> list[int]:
    """Open one alert for each draft, with its recipients and the first entry of its timeline; return the ids in order.

    Raises django.db.IntegrityError if a heartbeat or a key has a live alert already, or a deadline had one.
    """
    # (number of the draft, group id, user id); one of the two ids is None
    recipients: list[tuple[int, int | None, int | None]] = []
    for number, draft in enumerate(drafts, start=1):
        recipients += [(number, group_id, None) for group_id in dict.fromkeys(draft.group_ids)]
        recipients += [(number, None, user_id) for user_id in dict.fromkeys(draft.user_ids)]
    parameters: dict[str, Any] = {
        "organizations": array(draft.organization_id for draft in drafts),
        "priorities": column(draft.priority for draft in drafts),
        "subjects": column(_truncate("subject", draft.subject) for draft in drafts),
        "short_texts": column(_truncate("short_text", draft.short_text) for draft in drafts),
        "long_texts": column(draft.long_text for draft in drafts),
        "facts": column(draft.facts for draft in drafts),
        "sources": column(draft.source for draft in drafts),
        "source_names": column(_truncate("source_name", draft.source_name) for draft in drafts),
        "source_ids": column(_truncate("source_id", draft.source_id) for draft in drafts),
        "integrations": array(draft.integration_id for draft in drafts),
        "expected": column(draft.expected_at for draft in drafts),
        "bridges": array(draft.bridge_id for draft in drafts),
        "actors": array(draft.actor_id for draft in drafts),
        "tests": column(draft.is_test for draft in drafts),
        "types": column(draft.integration_type for draft in drafts),
        "keys": column(draft.key_hash for draft in drafts),
        "urls": column(draft.url for draft in drafts),
        "closing": column(draft.closes_at for draft in drafts),
        "openings": column(draft.opened_by for draft in drafts),
        "recipients": array(number for number, _, _ in recipients),
        "groups": array(group_id for _, group_id, _ in recipients),
        "users": array(user_id for _, _, user_id in recipients),
        "now": now,
    }
    rows = fetch(statement("alerting", "open_alerts"), parameters, length=max(len(drafts), len(recipients)))
    return [alert_id for (alert_id,) in rows]


def close_alerts(
    alert_ids: Sequence[int],
    *,
    reason: str,
    now: datetime,
    actor: User | None = None,
) -> list[int]:
    """Close those of the alerts that are live, in one statement; return the ids of the alerts that this call closed."""
    if not alert_ids:
        return []
    reason = reason.strip()[:REASON_LENGTH]
    parameters: dict[str, Any] = {
        "ids": array(alert_ids),
        "now": now,
        "reason": reason,
        "actor": actor.pk if actor else None,
        "text": _end_text("Closed", actor, reason),
    }
    # Those that close by themselves have no entry in the audit log, and need no transaction for it.
    together = nullcontext() if actor is None else transaction.atomic()
    with together, connection.cursor() as cursor:
        cursor.execute(statement("alerting", "close_alerts"), parameters)
        closed = [alert_id for (alert_id,) in cursor.fetchall()]
        if actor is not None:
            for alert in Alert.objects.filter(pk__in=closed).order_by("pk"):
                _audit_end(alert, Status.CLOSED, actor=actor, reason=reason)
    return closed


def acknowledge(alert: Alert, *, actor: User, now: datetime, since: datetime | None = None, via: Via = UNSAID) -> Alert:
    """Record that `actor` has seen the alert. The escalation goes on unless its policy says otherwise.

    A second acknowledgement changes nothing and writes no entry, because people often press a button twice. `since` is
    when the actor was last notified; an acknowledgement before that does not count as the first.
    """
    with transaction.atomic():
        # Lock the alert, so that of two clicks at once the second sees the entry of the first.
        stored = Alert.objects.select_for_update(no_key=True).get(pk=alert.pk)
        if stored.status in LIVE and has_acknowledged(actor, stored, since=since):
            alert.refresh_from_db()
            return alert
        return _apply(
            alert,
            Action.ACKNOWLEDGE,
            actor=actor,
            now=now,
            via=via,
            entry=(_Kind.ACKNOWLEDGED, f"Acknowledged by {actor}."),
            acknowledged_at=Coalesce("acknowledged_at", now),
            acknowledged_by_id=Coalesce("acknowledged_by_id", actor.pk),
        )


def assign(alert: Alert, *, actor: User, to: User, now: datetime, via: Via = UNSAID) -> Alert:
    """Make `to` the owner, which stops the escalation.

    Raises FieldError("user") if `to` cannot take alerts of this organization.
    """
    if to.organization_id != alert.organization_id:
        raise FieldError("user", "There is no such user.", code="does_not_exist")
    _check_can_take(to)
    return _apply(
        alert,
        Action.ASSIGN,
        actor=actor,
        now=now,
        via=via,
        entry=(_Kind.ASSIGNED, _assignment_text(actor, to)),
        owner=to,
        assigned_at=Coalesce("assigned_at", now),
    )


def assign_alerts(alert_ids: Sequence[int], *, actor: User, to: User, now: datetime, via: Via = UNSAID) -> list[int]:
    """Make `to` the owner of those of the alerts that are open and have no owner, in one statement.

    Returns the ids of the alerts that this call assigned. Raises FieldError("user") if `to` cannot take alerts.
    """
    _check_can_take(to)
    parameters: dict[str, Any] = {
        "ids": array(alert_ids),
        "organization": to.organization_id,
        "owner": to.pk,
        "actor": actor.pk,
        "now": now,
        "text": _assignment_text(actor, to),
        "via": via.channel,
        "how": via.how,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("alerting", "assign_alerts"), parameters)
        return [alert_id for (alert_id,) in cursor.fetchall()]


def escalate(alert: Alert, *, actor: User, now: datetime, via: Via = UNSAID) -> Alert:
    """Take the alert from its owner and end its acknowledgement, so that the escalation goes on.

    Only `escalation.engine.advance.escalate` calls this: it makes the next step due, too.
    """
    return _apply(
        alert,
        Action.ESCALATE,
        actor=actor,
        now=now,
        via=via,
        entry=(_Kind.ESCALATED, f"Escalated by {actor}."),
        owner=None,
        # An acknowledgement may have stopped the escalation and would stop it again. The timeline keeps the entry.
        acknowledged_at=None,
        acknowledged_by=None,
    )


def reassign(alert: Alert, *, actor: User, now: datetime, text: str, via: Via = UNSAID) -> Alert:
    """Take the alert from its owner and end its acknowledgement; `text` says to whom it goes.

    The caller, `escalation.responses.reassign`, starts the new escalation.
    """
    return _apply(
        alert,
        Action.REASSIGN,
        actor=actor,
        now=now,
        via=via,
        entry=(_Kind.REASSIGNED, text),
        owner=None,
        acknowledged_at=None,
        acknowledged_by=None,
    )


def add_responders(alert: Alert, *, actor: User, now: datetime, text: str, via: Via = UNSAID) -> Alert:
    """Record that `actor` asked more people for help; `text` says whom. The caller notifies them."""
    return _apply(alert, Action.ADD_RESPONDERS, actor=actor, now=now, via=via, entry=(_Kind.RESPONDERS_ADDED, text))


def unacknowledge(alert: Alert, *, actor: User, now: datetime, via: Via = UNSAID) -> Alert:
    """End the acknowledgement, whoever gave it, so that an escalation that it stopped goes on.

    Raises StateConflict if nobody has acknowledged the alert.
    """
    with transaction.atomic():
        stored = Alert.objects.select_for_update(no_key=True).get(pk=alert.pk)
        if stored.status in LIVE and stored.acknowledged_at is None:
            raise StateConflict("Nobody has acknowledged the alert.")
        return _apply(
            alert,
            Action.UNACKNOWLEDGE,
            actor=actor,
            now=now,
            via=via,
            entry=(_Kind.UNACKNOWLEDGED, f"The acknowledgement was taken back by {actor}."),
            acknowledged_at=None,
            acknowledged_by=None,
        )


def give_back(alert: Alert, *, actor: User, now: datetime, via: Via = UNSAID) -> Alert:
    """Take an alert from its owner, so that its escalation goes on where it stopped."""
    return _apply(
        alert,
        Action.GIVE_BACK,
        actor=actor,
        now=now,
        via=via,
        entry=(_Kind.GIVEN_BACK, f"Given back by {actor}."),
        owner=None,
        acknowledged_at=None,
        acknowledged_by=None,
    )


def hold(alert: Alert, *, actor: User, now: datetime, until: datetime | None = None, via: Via = UNSAID) -> Alert:
    """Pause the escalation until `until`, or until somebody resumes it. If the alert is on hold, change the end.

    Raises FieldError("until") if that is not later than now, or later than LONGEST_HOLD from now.
    """
    if until is not None and not now < until <= now + LONGEST_HOLD:
        raise FieldError("until", f"Choose a time within the next {LONGEST_HOLD.days} days.")
    end = f" until {_local_time(until, actor)}" if until else ""
    entry = (_Kind.HELD, f"Put on hold{end} by {actor}.")
    return _apply(alert, Action.HOLD, actor=actor, now=now, via=via, entry=entry, hold_until=until)


def reopen_alerts(lines: Sequence[tuple[int, str]], *, now: datetime) -> list[int]:
    """Open those of the alerts that are live again, without owner and acknowledgement; return their ids.

    `lines` are pairs of (alert id, text of the entry in its timeline).
    """
    parameters: dict[str, Any] = {
        "lines": records({"alert_id": alert_id, "text": text} for alert_id, text in lines),
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("alerting", "reopen_alerts"), parameters)
        return [alert_id for (alert_id,) in cursor.fetchall()]


def resume(alert: Alert, *, actor: User, now: datetime, via: Via = UNSAID) -> Alert:
    """End the hold: the alert returns to its owner, or its escalation goes on if it has none."""
    return _apply(alert, Action.RESUME, actor=actor, now=now, via=via, entry=(_Kind.RESUMED, f"Resumed by {actor}."))


def close(alert: Alert, *, actor: User, now: datetime, reason: str = "", via: Via = UNSAID) -> Alert:
    """Close the alert, because its problem is solved."""
    return _end(alert, Action.CLOSE, actor=actor, now=now, reason=reason, via=via, kind=_Kind.CLOSED)


def cancel(alert: Alert, *, actor: User, now: datetime, reason: str = "", via: Via = UNSAID) -> Alert:
    """Cancel the alert, because it is not needed."""
    return _end(alert, Action.CANCEL, actor=actor, now=now, reason=reason, via=via, kind=_Kind.CANCELLED)


def reply(alert: Alert, *, actor: User, now: datetime, text: str, via: Via = UNSAID) -> Alert:
    """Add a note to the timeline.

    Raises FieldError("text") if the text is empty.
    """
    if not text.strip():
        raise FieldError("text", "Enter a text.", code="blank")
    return _apply(alert, Action.REPLY, actor=actor, now=now, via=via, entry=(_Kind.REPLIED, text.strip()))


def add_viewers(pairs: Sequence[tuple[int, int]]) -> None:
    """Let users see the alerts that they are notified of.

    `pairs` are (alert id, user id); pairs that exist already are ignored.
    """
    parameters = {"alerts": array(alert_id for alert_id, _ in pairs), "users": array(user_id for _, user_id in pairs)}
    fetch(statement("alerting", "add_viewers"), parameters, length=len(pairs))


def add_recipients(alert: Alert, *, group_ids: Iterable[int] = (), user_ids: Iterable[int] = ()) -> None:
    """Add groups and users to the recipients of an alert, so that they see it; existing recipients are ignored."""
    rows = [AlertRecipient(alert=alert, group_id=pk) for pk in group_ids]
    rows += [AlertRecipient(alert=alert, user_id=pk) for pk in user_ids]
    AlertRecipient.objects.bulk_create(rows, ignore_conflicts=True)


def write_timeline(kind: TimelineEntry.Kind, lines: Sequence[tuple[int, str]], *, now: datetime) -> None:
    """Write entries of one kind, without an actor, into timelines; `lines` are pairs of (alert id, text)."""
    with connection.cursor() as cursor:
        cursor.execute(
            statement("alerting", "write_timeline"),
            {
                "lines": records({"alert_id": alert_id, "text": text} for alert_id, text in lines),
                "kind": kind,
                "now": now,
            },
        )


def _check_can_take(to: User) -> None:
    """Raise FieldError("user") unless the user may own alerts."""
    if not to.is_active or to.kind == User.Kind.STAKEHOLDER:
        raise FieldError("user", f"{to} cannot take alerts. Choose an active user who is not a stakeholder.")
    if not may_answer(to):
        raise FieldError("user", f"{to} cannot take alerts, because none of their roles lets them see alerts.")


def _assignment_text(actor: User, to: User) -> str:
    return f"{actor} took the alert." if to.pk == actor.pk else f"Assigned to {to} by {actor}."


def _end(alert: Alert, action: Action, *, actor: User, now: datetime, reason: str, via: Via, kind: _Kind) -> Alert:
    reason = reason.strip()[:REASON_LENGTH]
    entry = (kind, _end_text(kind.label, actor, reason))
    old = alert.status
    with transaction.atomic():
        alert = _apply(alert, action, actor=actor, now=now, via=via, entry=entry, closed_at=now, close_reason=reason)
        _audit_end(alert, alert.status, actor=actor, reason=reason, old=old, via=via)
    return alert


def _audit_end(
    alert: Alert, status: str, *, actor: User, reason: str, old: str | None = None, via: Via = UNSAID
) -> None:
    """Write into the audit log that a person ended an alert; those that end by themselves are not in it.

    Over a page or the API it has the way of the request, otherwise the channel of the message that was answered.
    """
    record_audit(
        organization=alert.organization_id,
        action=status,
        object_type="alert",
        object_id=alert.pk,
        object_name=alert.subject,
        before=None if old is None else {"status": old},
        after={"status": status, "close_reason": reason},
        actor=actor,
        via="" if via in {UNSAID, CONSOLE, API} else via.channel,
    )


def _apply(
    alert: Alert,
    action: Action,
    *,
    actor: User,
    now: datetime,
    via: Via,
    entry: tuple[_Kind, str],
    **changes: Any,
) -> Alert:
    """Apply `action` and write `entry` into the timeline; `changes` are further columns of the alert.

    Raises StateConflict if the status does not allow the action, or if status or owner have changed since the caller
    read the alert.
    """
    old = Status(alert.status)
    new = step(old, action, owned=alert.owner_id is not None)
    if new is None:
        actions = ", ".join(actions_from(old))
        raise StateConflict(
            f"The alert is {Alert.Status(old).label}, which does not allow “{action}”. Allowed actions: {actions}.",
        )
    kind, text = entry
    if new != Status.ON_HOLD:
        changes = {"hold_until": None} | changes
    with transaction.atomic():
        # Compare and swap: of two actions at once, the second matches no row.
        unchanged = Alert.objects.filter(pk=alert.pk, status=old, owner_id=alert.owner_id)
        if not unchanged.update(status=new, **changes):
            raise StateConflict("Somebody else has just changed the alert. Load it again.")
        TimelineEntry.objects.create(
            alert_id=alert.pk, at=now, kind=kind, actor=actor, text=text, via=via.channel, how=via.how
        )
    alert.refresh_from_db()
    return alert


def _end_text(word: str, actor: User | None, reason: str) -> str:
    """Return how an alert ended: “Closed by heartbeat.”, “Closed by Ana.”, “Cancelled by Ana: a test.”"""
    # The reason of a recovery is a sentence already: “closed by heartbeat”.
    if reason.lower().startswith(f"{word.lower()} by "):
        return f"{word}{reason[len(word) :]}."
    sentence = f"{word} by {actor}" if actor else word
    return f"{sentence}: {reason}." if reason else f"{sentence}."


def _local_time(at: datetime, user: User) -> str:
    """Return the time in the zone of the user, with the zone's name, because others read the timeline, too."""
    local = at.astimezone(zoneinfo.ZoneInfo(user.time_zone))
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M %Z}"


def _truncate(field: str, text: str) -> str:
    """Return the text, cut to the width of its column: a long name must not prevent an alert from opening."""
    length = _LENGTHS[field]
    return text if len(text) <= length else f"{text[: length - 1]}…"
