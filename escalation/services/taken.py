"""Taken is not forgotten: whoever has an alert is reminded of it, and without an answer it is open again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import connection, transaction

from accounts.models import User
from accounts.selectors import opted_out
from alerting.models import Alert, TimelineEntry
from alerting.services import add_viewers, reopen_alerts, write_timeline
from alerting.states import STOPPED, Status
from escalation import walk
from escalation.models import EscalationRun, Notification
from escalation.reviews import ANSWER_WITHIN, TAKE_WITHIN, Review, after_reminder, reopen_at
from escalation.services.notices import write_owner_notice
from escalation.services.people import Directory
from escalation.wording import moment, zone
from heartbeat_project.kernel.batches import together_or_alone
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.sql import records, statement

SET_ASIDE_FOR: Final = timedelta(minutes=1)
_ANY_METHOD: Final = walk.Stage(label="", targets=())
_Kind = TimelineEntry.Kind


@dataclass(frozen=True, slots=True)
class _Word:
    """What one person is notified of beside the escalation: why, as a sentence; the run's step is its number."""

    run: EscalationRun
    user: User
    text: str


def review_taken(*, now: datetime, limit: int = 1_000) -> int:
    """Do what is due for alerts that were taken: remind, or open again; return how many were looked at.

    Works in batches, each one transaction. An alert that somebody acts on right now is passed over: their action
    decides when it is looked at next.
    """
    looked_at = 0
    while True:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(statement("escalation", "claim_reviews"), {"now": now, "limit": limit})
                claimed = [run_id for (run_id,) in cursor.fetchall()]
            looked_at += together_or_alone(
                claimed, what="reviews", act=partial(_review, now=now), set_aside=partial(_set_aside, now=now)
            )
        if len(claimed) < limit:
            return looked_at


def notify_new_owner(run: EscalationRun, owner: User, *, by: User, now: datetime) -> None:
    """Notify at once whom an alert was assigned to by somebody else; the caller holds the run and saves it."""
    run.step += 1
    end = run.review_at if run.review == Review.HANDED else None
    text = f"{by} assigned this alert to you."
    if end is not None:
        local = moment(end, zone=zone(owner.time_zone))
        text = f"{text} Unless you do something with it by {local}, it is open again and others are notified."
    reached = _write([_Word(run, owner, text)], kind=Notification.Kind.ASSIGNMENT, within=TAKE_WITHIN, now=now)
    if not reached:
        said = f"{owner} is not notified within {in_words(TAKE_WITHIN)}: no contact method of theirs is used before."
        write_timeline(_Kind.SKIPPED, [(run.alert_id, said)], now=now)


def go_on(runs: Sequence[EscalationRun], *, now: datetime) -> None:
    """Let the escalations of alerts that somebody let go of go on where they stood, or begin again.

    The caller holds the alerts and their runs.
    """
    places = _places(runs, now=now)
    begun = [(run.alert_id, f"No step was left: {_begins_again(run)}") for run in runs if places[run.pk].begins]
    if begun:
        write_timeline(_Kind.REOPENED, begun, now=now)
    _save_places(runs, places, now=now, reopened_at=None)


def is_stopped(alert: Alert, run: EscalationRun | None) -> bool:
    """Answer whether nobody is notified by itself of an alert that is not over, because somebody has it."""
    if alert.status in STOPPED:
        return True
    acknowledged = alert.status == Status.OPEN and alert.acknowledged_at is not None
    return acknowledged and run is not None and run.acknowledge_stops


def save_reviews(runs: Iterable[EscalationRun]) -> None:
    """Write when alerts are looked at again, as it stands in their runs; the caller holds them."""
    rows = records(
        {
            "id": run.pk,
            "acted_at": run.acted_at,
            "review": run.review,
            "review_at": run.review_at,
            "step": run.step,
        }
        for run in runs
    )
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "save_reviews"), {"runs": rows})


def _review(run_ids: Sequence[int], *, now: datetime) -> int:
    """Look at taken alerts, which the caller holds, and do what is due with them as they stand."""
    runs = list(EscalationRun.objects.filter(pk__in=run_ids).select_related("alert__owner").order_by("id"))
    settled, reminded, opened = [], [], []
    for run in runs:
        if not _still_applies(run, now=now):
            run.review, run.review_at = "", None
            settled.append(run)
        elif run.review == Review.REMIND:
            reminded.append(run)
        else:
            opened.append((run, _why_open(run)))
    unreached = _remind(reminded, now=now)
    for run, why in unreached:
        run.review, run.review_at = Review.REOPEN, reopen_at(now, reopened_at=run.reopened_at)
        if run.review_at <= now:
            opened.append((run, why))
    save_reviews([*settled, *reminded])
    open_again(opened, now=now)
    return len(run_ids)


def _still_applies(run: EscalationRun, *, now: datetime) -> bool:
    alert = run.alert
    if run.review == Review.HOLD_ENDS:
        return alert.status == Status.ON_HOLD and alert.hold_until is not None and alert.hold_until <= now
    if run.review == Review.HANDED:
        return alert.status == Status.ASSIGNED
    return is_stopped(alert, run)


def _why_open(run: EscalationRun) -> str:
    if run.review == Review.HOLD_ENDS:
        return "the time on hold is over."
    if run.review == Review.HANDED:
        return f"{run.alert.owner or 'the owner'}, whom it was assigned to, did nothing with it in time."
    return "nobody answered the reminder."


def _remind(runs: Sequence[EscalationRun], *, now: datetime) -> list[tuple[EscalationRun, str]]:
    """Remind whoever has each alert; return those where that reaches nobody in time, with the reason."""
    if not runs:
        return []
    having = _who_has(runs)
    words, lines, unreached = [], [], []
    for run in runs:
        run.step += 1
        run.review, run.review_at = after_reminder(reminded_at=now, reopened_at=run.reopened_at)
        user = having.get(run.alert_id)
        if user is None:
            unreached.append((run, "nobody is there who could be reminded."))
            continue
        idle = in_words(now - run.acted_at) if run.acted_at else "a long time"
        end = moment(run.review_at, zone=zone(user.time_zone))
        text = f"Nobody has done anything with this alert for {idle}, and it is yours. "
        words.append(_Word(run, user, f"{text}Unless you answer by {end}, it is open again and others are notified."))
    reached = _write(words, kind=Notification.Kind.REMINDER, within=ANSWER_WITHIN, now=now)
    for word in words:
        if word.run.pk in reached:
            lines.append((word.run.alert_id, f"Reminding {word.user}: nobody has done anything with it for some time."))
        else:
            unreached.append((word.run, f"{word.user}, who has it, cannot be reminded in time."))
    if lines:
        write_timeline(_Kind.REMINDED, lines, now=now)
    return unreached


def _who_has(runs: Sequence[EscalationRun]) -> dict[int, User]:
    """Return by alert who is reminded of it: its owner, or who put it on hold, or who acknowledged."""
    held = [run.alert_id for run in runs if run.alert.status == Alert.Status.ON_HOLD and not run.alert.owner_id]
    holds = TimelineEntry.objects.filter(alert__in=held, kind=_Kind.HELD).order_by("alert_id", "-id")
    holders = dict(holds.distinct("alert_id").values_list("alert_id", "actor_id"))
    ids = {
        run.alert_id: run.alert.owner_id or holders.get(run.alert_id) or run.alert.acknowledged_by_id for run in runs
    }
    users = User.objects.in_bulk({pk for pk in ids.values() if pk})
    return {alert_id: users[pk] for alert_id, pk in ids.items() if pk in users}


def _write(words: Sequence[_Word], *, kind: Notification.Kind, within: timedelta, now: datetime) -> set[int]:
    """Write the messages over each person's own methods; return the runs where one is used early enough."""
    if not words:
        return set()
    targets = tuple(walk.Target("user", pk) for pk in {word.user.pk for word in words})
    directory = Directory.of([walk.Plan((walk.Track((walk.Stage("", targets),)),))], now=now)
    rows, reached = [], set()
    for word in words:
        tell = walk.Tell(word.user.pk, "")
        for method in directory.methods(tell):
            for repeat, due_at in enumerate(directory.times(tell, method)):
                if due_at < now + within:
                    reached.add(word.run.pk)
                rows.append(
                    Notification(
                        organization_id=word.user.organization_id,
                        alert_id=word.run.alert_id,
                        run_id=word.run.pk,
                        kind=kind,
                        urgency=Notification.Urgency.FIRST,
                        user_id=word.user.pk,
                        contact_method=method,
                        channel=method.kind,
                        label=method.label,
                        address=method.address,
                        step=word.run.step,
                        repeat=repeat,
                        text=word.text,
                        created_at=now,
                        next_attempt_at=due_at,
                    )
                )
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    add_viewers([(word.run.alert_id, word.user.pk) for word in words])
    ring("escalation.deliver_due", queue="delivery")
    return reached


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an escalation goes on; `begins` says that it begins again, because nothing that is left reaches anybody."""

    position: walk.Position
    begins: bool


def open_again(opened: Sequence[tuple[EscalationRun, str]], *, now: datetime) -> None:
    """Open alerts again and let their escalations go on; the caller holds both."""
    if not opened:
        return
    runs = [run for run, _ in opened]
    places = _places(runs, now=now)
    lines = [(run.alert_id, f"Open again: {why} {_how_it_goes_on(run, places[run.pk])}") for run, why in opened]
    reopen_alerts(lines, now=now)
    held = [run for run in runs if run.review == Review.HOLD_ENDS]
    _save_places(held, places, now=now, reopened_at=None)
    _save_places([run for run in runs if run.review != Review.HOLD_ENDS], places, now=now, reopened_at=now)


def _how_it_goes_on(run: EscalationRun, place: _Place) -> str:
    if place.begins:
        begins = _begins_again(run)
        return begins[0].upper() + begins[1:]
    return f"“{run.name}” goes on where it stood."


def _begins_again(run: EscalationRun) -> str:
    return f"the escalation “{run.name}” begins again at its first step."


def _places(runs: Sequence[EscalationRun], *, now: datetime) -> dict[int, _Place]:
    """Return where each run goes on: where it stood, or at its beginning where nothing left reaches anybody."""
    plans = {json.dumps(run.plan): walk.Plan.load(run.plan) for run in runs}
    directory = Directory.of(plans.values(), now=now)
    unwilling = opted_out({run.alert.integration_id for run in runs})
    found: dict[tuple[str, str, frozenset[int]], _Place] = {}
    places = {}
    for run in runs:
        out = frozenset(unwilling.get(run.alert.integration_id, ()))
        key = (json.dumps(run.plan), json.dumps(run.position), out)
        if key not in found:
            found[key] = _place(plans[key[0]], walk.Position.load(run.position), directory, out, now=now)
        places[run.pk] = found[key]
    return places


def _place(
    plan: walk.Plan, position: walk.Position, directory: Directory, opted_out: frozenset[int], *, now: datetime
) -> _Place:
    def first_use(person: int, stage: walk.Stage) -> float | None:
        return None if person in opted_out else directory.first_use(person, stage)

    if walk.reaches_somebody(plan, position, now=now, people=directory.people, first_use=first_use):
        return _Place(position, begins=False)
    return _Place(walk.start(plan, now), begins=True)


def _save_places(
    runs: Sequence[EscalationRun], places: Mapping[int, _Place], *, now: datetime, reopened_at: datetime | None
) -> None:
    if not runs:
        return
    for run in runs:
        run.step += 1
    rows = records(
        {
            "id": run.pk,
            "step": run.step,
            "position": places[run.pk].position.dump(),
            # Where the plan is empty, the engine finds at once that it leads to nobody, and says so.
            "next_step_at": places[run.pk].position.next_at or now,
            "reopened_at": reopened_at,
        }
        for run in runs
    )
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "reopen_runs"), {"runs": rows})
    ring("escalation.advance_escalations", queue="engine")


def _set_aside(run_id: int, error: Exception, *, now: datetime) -> None:
    """Try this one again in a minute; the first time, tell the Owner, because nobody is reminded by it."""
    run = EscalationRun.objects.select_related("alert").get(pk=run_id)
    first = not run.error
    run.error = f"{type(error).__name__}: {error}".replace("\x00", "")
    run.review_at = now + SET_ASIDE_FOR
    run.save(update_fields=["error", "review_at"])
    if first:
        write_owner_notice(
            run.alert.organization_id,
            subject=f"Nobody can be reminded of “{run.alert.subject}”",
            text=f"Alert {run.alert_id} was taken, and to look at it again failed: {run.error}\n"
            "It is tried again every minute. The log of the engine worker says more.",
            now=now,
        )
