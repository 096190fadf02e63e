"""Reviews of taken alerts: remind the person who has an alert of it, and open it again if nobody answers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import connection, transaction

from accounts.models.contact_methods import Priority
from accounts.models.users import User
from accounts.selectors import opted_out
from alerting.models.alerts import Alert, TimelineEntry
from alerting.services.alerts import add_viewers, reopen_alerts, write_timeline
from alerting.states import STOPPED, Status
from escalation.engine import walk
from escalation.engine.notices import write_owner_notice
from escalation.engine.plan import Plan, Stage, Target, Track
from escalation.engine.recipients import RecipientDirectory
from escalation.engine.review_times import ANSWER_WITHIN, TAKE_WITHIN, Review, after_reminder, reopen_at
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.batches import run_batch_isolating_failures
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.sql import records, statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import moment, zone

# How long a run whose step or review failed is left alone, so that one broken run does not fail in every tick.
QUARANTINE: Final = timedelta(minutes=1)
_Kind = TimelineEntry.Kind


@dataclass(frozen=True, slots=True)
class _PersonalMessage:
    """A message about an alert to one person, beside its escalation; `text` says why they get it."""

    run: EscalationRun
    user: User
    text: str


def review_taken(*, now: datetime, limit: int = 1_000) -> int:
    """Review the taken alerts that are due: remind their owners, or open them again; return how many were reviewed.

    Works in batches of `limit`, each one transaction. An alert that somebody acts on right now is passed over: their
    action decides when it is reviewed next.
    """
    reviewed = 0
    while True:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(statement("escalation", "claim_reviews"), {"now": now, "limit": limit})
                claimed = [run_id for (run_id,) in cursor.fetchall()]
            reviewed += run_batch_isolating_failures(
                claimed, batch_name="reviews", act=partial(_review, now=now), quarantine=partial(_quarantine, now=now)
            )
        if len(claimed) < limit:
            return reviewed


def notify_new_owner(run: EscalationRun, owner: User, *, by: User, now: datetime) -> None:
    """Notify at once the user to whom somebody else assigned the alert; the caller holds the run and saves it."""
    run.step += 1
    reopens_at = run.review_at if run.review == Review.HANDED else None
    text = f"{by} assigned this alert to you."
    if reopens_at is not None:
        local = moment(reopens_at, zone=zone(owner.time_zone))
        text = f"{text} Say by {local} that you are on it, or it opens again and others are notified."
    message = _PersonalMessage(run, owner, text)
    if not _write([message], kind=Notification.Kind.ASSIGNMENT, within=TAKE_WITHIN, now=now):
        sentence = (
            f"{owner} is not notified within {in_words(TAKE_WITHIN)}: no contact method of theirs is used before."
        )
        write_timeline(_Kind.SKIPPED, [(run.alert_id, sentence)], now=now)


def notify_holder(alert_id: int, *, text: str, now: datetime) -> None:
    """Notify the person who has a taken alert of what has become of it; do nothing if nobody has it."""
    runs = list(
        EscalationRun.objects.select_for_update(no_key=True, of=("self",))
        .select_related("alert__owner")
        .filter(alert=alert_id)
    )
    messages = []
    for run in runs:
        if (user := _holders([run]).get(alert_id)) is not None:
            run.step += 1
            run.save(update_fields=["step"])
            messages.append(_PersonalMessage(run, user, f"{text} This alert is yours."))
    _write(messages, kind=Notification.Kind.REMINDER, within=ANSWER_WITHIN, now=now)


def go_on(runs: Sequence[EscalationRun], *, now: datetime) -> None:
    """Let the escalations of alerts that were given back go on where they stood, or begin again.

    The caller holds the alerts and their runs.
    """
    continuations = _continuations(runs, now=now)
    lines = [(run.alert_id, f"No step was left: {_begins_again(run)}") for run in runs if continuations[run.pk].begins]
    if lines:
        write_timeline(_Kind.REOPENED, lines, now=now)
    _save_continuations(runs, continuations, now=now, reopened_at=None)


def is_stopped(alert: Alert, run: EscalationRun | None) -> bool:
    """Return whether the escalation of an alert that is not over notifies nobody, because somebody has the alert."""
    if alert.status in STOPPED:
        return True
    acknowledged = alert.status == Status.OPEN and alert.acknowledged_at is not None
    return acknowledged and run is not None and run.acknowledge_stops


def save_reviews(runs: Iterable[EscalationRun]) -> None:
    """Save when these runs' alerts are reviewed next; the caller holds the runs."""
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
    """Do the reviews of these runs, which the caller holds; return their number.

    The alerts may have changed since a review was set, so each is judged as it stands now.
    """
    runs = list(EscalationRun.objects.filter(pk__in=run_ids).select_related("alert__owner").order_by("id"))
    settled, to_remind, to_open = [], [], []
    for run in runs:
        if not _still_applies(run, now=now):
            run.review, run.review_at = "", None
            settled.append(run)
        elif run.review == Review.REMIND:
            to_remind.append(run)
        else:
            to_open.append((run, _why_open(run)))
    for run, why in _remind(to_remind, now=now):
        # Nobody can answer a reminder that reaches nobody: open the alert now, unless it was opened not long ago.
        run.review, run.review_at = Review.REOPEN, reopen_at(now, reopened_at=run.reopened_at)
        if run.review_at <= now:
            to_open.append((run, why))
    save_reviews([*settled, *to_remind])
    open_again(to_open, now=now)
    return len(run_ids)


def _still_applies(run: EscalationRun, *, now: datetime) -> bool:
    """Return whether the alert is still in the state for which its review was set."""
    alert = run.alert
    if run.review == Review.HOLD_ENDS:
        return alert.status == Status.ON_HOLD and alert.hold_until is not None and alert.hold_until <= now
    if run.review == Review.HANDED:
        return alert.status == Status.ASSIGNED
    return is_stopped(alert, run)


def _why_open(run: EscalationRun) -> str:
    """Return why the alert is opened again, as the end of a sentence."""
    if run.review == Review.HOLD_ENDS:
        return "the time on hold is over."
    if run.review == Review.HANDED:
        return f"{run.alert.owner or 'the owner'}, whom it was assigned to, did nothing with it in time."
    return "nobody answered the reminder."


def _remind(runs: Sequence[EscalationRun], *, now: datetime) -> list[tuple[EscalationRun, str]]:
    """Remind the person who has each alert; return the runs whose reminder reaches nobody in time, with the reason."""
    if not runs:
        return []
    holders = _holders(runs)
    messages, lines, unreached = [], [], []
    for run in runs:
        run.step += 1
        run.review, run.review_at = after_reminder(reminded_at=now, reopened_at=run.reopened_at)
        user = holders.get(run.alert_id)
        if user is None:
            unreached.append((run, "nobody is there who could be reminded."))
            continue
        idle = in_words(now - run.acted_at) if run.acted_at else "a long time"
        reopens_at = moment(run.review_at, zone=zone(user.time_zone))
        text = (
            f"This alert is yours, and nobody has done anything with it for {idle}. "
            f"Say by {reopens_at} that you are on it, or it opens again and others are notified."
        )
        messages.append(_PersonalMessage(run, user, text))
    reached = _write(messages, kind=Notification.Kind.REMINDER, within=ANSWER_WITHIN, now=now)
    for message in messages:
        run, user = message.run, message.user
        if run.pk in reached:
            lines.append((run.alert_id, f"Reminding {user}: nobody has done anything with it for some time."))
        else:
            unreached.append((run, f"{user}, who has it, cannot be reminded in time."))
    if lines:
        write_timeline(_Kind.REMINDED, lines, now=now)
    return unreached


def _holders(runs: Sequence[EscalationRun]) -> dict[int, User]:
    """Return, by alert id, who is reminded: the owner, or else who put it on hold, or else who acknowledged it."""
    held = [run.alert_id for run in runs if run.alert.status == Alert.Status.ON_HOLD and not run.alert.owner_id]
    holds = TimelineEntry.objects.filter(alert__in=held, kind=_Kind.HELD).order_by("alert_id", "-id")
    hold_actors = dict(holds.distinct("alert_id").values_list("alert_id", "actor_id"))
    user_ids = {
        run.alert_id: run.alert.owner_id or hold_actors.get(run.alert_id) or run.alert.acknowledged_by_id
        for run in runs
    }
    users = User.objects.in_bulk({user_id for user_id in user_ids.values() if user_id})
    return {alert_id: users[user_id] for alert_id, user_id in user_ids.items() if user_id in users}


def _write(
    messages: Sequence[_PersonalMessage], *, kind: Notification.Kind, within: timedelta, now: datetime
) -> set[int]:
    """Write the messages over each person's own methods; return the ids of runs of which one is sent `within` time."""
    if not messages:
        return set()
    targets = tuple(Target("user", pk) for pk in {message.user.pk for message in messages})
    recipients = RecipientDirectory.of([Plan((Track((Stage("", targets),)),))], now=now)
    rows, reached = [], set()
    for message in messages:
        run = message.run
        page = walk.Page(message.user.pk, "")
        # By the alert's priority, but without waiting for a morning: this person has the alert.
        directory = recipients.for_plan(Plan(priority=run.alert.priority))
        for method in directory.methods(page):
            for repeat, due_at in enumerate(directory.times(page, method)):
                if due_at < now + within:
                    reached.add(run.pk)
                rows.append(
                    Notification(
                        organization_id=message.user.organization_id,
                        alert_id=run.alert_id,
                        run_id=run.pk,
                        kind=kind,
                        urgency=Notification.Urgency.FIRST,
                        priority_rank=Priority.values.index(run.alert.priority),
                        user_id=message.user.pk,
                        contact_method=method,
                        channel=method.kind,
                        label=method.label,
                        address=method.address,
                        step=run.step,
                        repeat=repeat,
                        text=message.text,
                        created_at=now,
                        next_attempt_at=due_at,
                    )
                )
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    add_viewers([(message.run.alert_id, message.user.pk) for message in messages])
    wake_on_commit("escalation.deliver_due", queue="delivery")
    return reached


@dataclass(frozen=True, slots=True)
class _Continuation:
    """Where an escalation goes on; `begins` says that it begins again, because no step left reaches anybody."""

    position: walk.Position
    begins: bool


def open_again(reasons: Sequence[tuple[EscalationRun, str]], *, now: datetime) -> None:
    """Open the alerts of these runs again, each for its reason, and let the escalations go on.

    The caller holds the alerts and the runs. A reason is the end of a sentence.
    """
    if not reasons:
        return
    runs = [run for run, _ in reasons]
    continuations = _continuations(runs, now=now)
    lines = [(run.alert_id, f"Open again: {why} {_how_it_goes_on(run, continuations[run.pk])}") for run, why in reasons]
    reopen_alerts(lines, now=now)
    # The end of a hold was announced, and does not count for the limit on how often alerts open again.
    held = [run for run in runs if run.review == Review.HOLD_ENDS]
    others = [run for run in runs if run.review != Review.HOLD_ENDS]
    _save_continuations(held, continuations, now=now, reopened_at=None)
    _save_continuations(others, continuations, now=now, reopened_at=now)


def _how_it_goes_on(run: EscalationRun, continuation: _Continuation) -> str:
    if continuation.begins:
        begins = _begins_again(run)
        return begins[0].upper() + begins[1:]
    return f"“{run.name}” goes on where it stood."


def _begins_again(run: EscalationRun) -> str:
    return f"the escalation “{run.name}” begins again at its first step."


def _continuations(runs: Sequence[EscalationRun], *, now: datetime) -> dict[int, _Continuation]:
    """Return, by run id, where each run goes on: where it stood, or at its beginning if no step left reaches anybody.

    Runs of the same plan and position, about what the same people have muted, get the same answer: it is computed once.
    """
    plans = {json.dumps(run.plan): Plan.load(run.plan) for run in runs}
    directory = RecipientDirectory.of(plans.values(), now=now)
    opted_out_by_integration = opted_out({run.alert.integration_id for run in runs})
    by_state: dict[tuple[str, str, frozenset[int]], _Continuation] = {}
    continuations = {}
    for run in runs:
        unwilling = frozenset(opted_out_by_integration.get(run.alert.integration_id, ()))
        plan_text = json.dumps(run.plan)
        key = (plan_text, json.dumps(run.position), unwilling)
        if key not in by_state:
            position = walk.Position.load(run.position)
            by_state[key] = _continuation(plans[plan_text], position, directory, unwilling, now=now)
        continuations[run.pk] = by_state[key]
    return continuations


def _continuation(
    plan: Plan, position: walk.Position, directory: RecipientDirectory, unwilling: frozenset[int], *, now: datetime
) -> _Continuation:
    first_use = directory.for_plan(plan).first_use_without(unwilling)
    if walk.reaches_somebody(plan, position, now=now, people=directory.people, first_use=first_use):
        return _Continuation(position, begins=False)
    return _Continuation(walk.start(plan, now), begins=True)


def _save_continuations(
    runs: Sequence[EscalationRun],
    continuations: Mapping[int, _Continuation],
    *,
    now: datetime,
    reopened_at: datetime | None,
) -> None:
    """Save where the runs go on, and wake the engine; `reopened_at` None leaves the time of the last reopening."""
    if not runs:
        return
    for run in runs:
        run.step += 1
    rows = records(
        {
            "id": run.pk,
            "step": run.step,
            "position": continuations[run.pk].position.dump(),
            # An empty plan has no next step: the engine finds now that it leads to nobody, and notifies the Owner.
            "next_step_at": continuations[run.pk].position.next_at or now,
            "reopened_at": reopened_at,
        }
        for run in runs
    )
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "reopen_runs"), {"runs": rows})
    wake_on_commit("escalation.advance_escalations", queue="engine")


def _quarantine(run_id: int, error: Exception, *, now: datetime) -> None:
    """Try this review again in a minute; the first time, e-mail the Owner, because it reminds nobody meanwhile."""
    run = EscalationRun.objects.select_related("alert").get(pk=run_id)
    first = not run.error
    run.error = f"{type(error).__name__}: {error}".replace("\x00", "")
    run.review_at = now + QUARANTINE
    run.save(update_fields=["error", "review_at"])
    if first:
        write_owner_notice(
            run.alert.organization_id,
            subject=f"Nobody can be reminded of “{run.alert.subject}”",
            text=f"Alert #{run.alert_id} was taken, and whoever has it cannot be reminded: {run.error}\n"
            "Ask them yourself whether they are on it. Heartbeat tries again every minute; the log of the engine "
            "worker says more.",
            now=now,
        )
