"""Hand-offs: people who come on call are notified of the open alerts that nobody has taken, in one message."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final
from uuid import uuid4

from django.db import connection, transaction
from django.db.models import Q

from accounts.models.users import User
from accounts.selectors import nested_groups, opted_out
from accounts.services.restores import unless_held
from alerting.models.alerts import Alert, TimelineEntry
from alerting.services.alerts import add_viewers, write_timeline
from escalation.engine import walk
from escalation.engine.advance import expedite_locked
from escalation.engine.plan import Plan
from escalation.engine.recipients import PlanDirectory, RecipientDirectory
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.oncall.selectors import OnCallPeriod, on_call_periods
from heartbeat_project.kernel.sql import array, records, statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import at_weekday, zone

# Pairs of an alert and a person that one call writes at most, to bound its transaction; the next minute writes others.
MAX_PAIRS: Final = 20_000
# Escalations waiting for a morning that one call looks at, to bound the memory for their plans.
MAX_WAITING: Final = 5_000
# The beginning of an on-call shift is named only if it is at most this long ago: an older one is not why they are
# notified now.
LOOK_BACK: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _RunBatch:
    """Runs of one organization that stand at the same position of the same plan."""

    organization_id: int
    plan: Plan
    position: walk.Position
    runs: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why a person is notified: a sentence for their message, and one for the timeline."""

    for_message: str
    for_timeline: str


@unless_held(0)
def notify_newly_on_call(*, now: datetime) -> int:
    """Notify the newcomers to stages that walks have left; return the number of pairs of an alert and a person.

    Nothing is remembered between two calls: everybody who is in charge of an open alert now, and was never notified of
    it, is notified. These people came on call, cover somebody from now on, joined the group, or can be reached again.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # Two workers at once would both find that nobody was notified yet, and notify everybody twice.
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('escalation.handoffs'))")
        if not cursor.fetchone()[0]:
            return 0
        _begin_by_day(now=now)
        batches = _batches()
        if not batches:
            return 0
        directory = RecipientDirectory.of({batch.plan for batch in batches}, now=now)
        charges = [_in_charge(batch, directory, now=now) for batch in batches]
        pairs = _never_notified(batches, charges)
        if pairs:
            charges_by_user = _charges_by_user(pairs, batches, charges)
            _notify(pairs, charges_by_user, _directories(charges_by_user, batches, charges, directory), now=now)
        return len(pairs)


def _begin_by_day(*, now: datetime) -> None:
    """Expedite escalations that wait for somebody's morning if somebody for whom it is day is in charge by now."""
    waiting = EscalationRun.objects.select_for_update(no_key=True, skip_locked=True, of=("self",)).filter(
        Q(acknowledge_stops=False) | Q(alert__acknowledged_at=None),
        next_step_at__gt=now,
        parked=False,
        position__has_key="waits_until",
        alert__status=Alert.Status.OPEN,
    )
    runs = list(waiting.select_related("alert").order_by("pk")[:MAX_WAITING])
    if not runs:
        return
    plans = {json.dumps(run.plan): Plan.load(run.plan) for run in runs}
    directory = RecipientDirectory.of(plans.values(), now=now)
    opted_out_by_integration = opted_out({run.alert.integration_id for run in runs})
    # Runs of the same plan and position, about what the same people have muted, get the same answer.
    can_begin: dict[tuple[str, str, frozenset[int]], bool] = {}
    expedited = []
    for run in runs:
        unwilling = frozenset(opted_out_by_integration.get(run.alert.integration_id, ()))
        plan_text = json.dumps(run.plan)
        key = (plan_text, json.dumps(run.position), unwilling)
        if key not in can_begin:
            plan, position = plans[plan_text], walk.Position.load(run.position)
            can_begin[key] = _can_begin(plan, position, directory.for_plan(plan), unwilling, now=now)
        if can_begin[key]:
            expedited.append(run)
    if expedited:
        expedite_locked(expedited, now=now)


def _can_begin(
    plan: Plan, position: walk.Position, directory: PlanDirectory, unwilling: frozenset[int], *, now: datetime
) -> bool:
    """Return whether the next stage only waits for a morning, and would notify somebody who counts now."""
    coming = walk.coming(plan, position)
    if coming is None or coming.at != position.waits_until:
        return False
    advance = walk.advance(
        plan,
        walk.expedite(position, now),
        now=now,
        people=directory.people,
        first_use=directory.first_use_without(unwilling),
        night=directory.night,
    )
    return advance.reaches


def _batches() -> list[_RunBatch]:
    """Return the open runs that nobody has taken, by where they stand in their plans."""
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "open_cursors"))
        rows = cursor.fetchall()
    plans = {text: Plan.load(json.loads(text)) for text in {plan for _, plan, *_ in rows}}
    return [
        _RunBatch(organization_id, plans[plan], _position(entered, in_turn, retries), runs)
        for organization_id, plan, entered, in_turn, retries, runs in rows
    ]


def _position(entered: str, in_turn: str, retries: str) -> walk.Position:
    """Return as much of a position as a hand-off needs: how far each track is, and which retries are to come.

    The arguments are JSON: for each track how many stages it entered and whether turns are still to come, and the
    position's `retries`. When a track goes on does not matter, so its time stays empty.
    """
    cursors = [
        [stages, None, has_turns] for stages, has_turns in zip(json.loads(entered), json.loads(in_turn), strict=True)
    ]
    return walk.Position.load(
        {"cursors": cursors, "retries": json.loads(retries), "repeat": 0, "notified": True, "reached": []}
    )


def _in_charge(batch: _RunBatch, directory: RecipientDirectory, *, now: datetime) -> Mapping[int, walk.InCharge]:
    """Return, by person, who is in charge of the stages that these runs have left."""
    first_use = directory.for_plan(batch.plan).first_use
    return walk.in_charge(batch.plan, batch.position, now=now, people=directory.people, first_use=first_use)


def _never_notified(
    batches: Sequence[_RunBatch], charges: Sequence[Mapping[int, walk.InCharge]]
) -> list[tuple[int, int]]:
    """Return pairs of a run and a person in charge of it who was never notified of its alert."""
    run_ids: list[int] = []
    numbers: list[int] = []
    people: list[dict[str, int]] = []
    for number, (batch, charge) in enumerate(zip(batches, charges, strict=True)):
        if charge:
            run_ids += batch.runs
            numbers += [number] * len(batch.runs)
            people += ({"batch": number, "user_id": user_id} for user_id in charge)
    parameters: dict[str, Any] = {
        "runs": array(run_ids),
        "batches": array(numbers),
        "people": records(people),
        "limit": MAX_PAIRS,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "never_notified"), parameters)
        return list(cursor.fetchall())


def _charges_by_user(
    pairs: Sequence[tuple[int, int]], batches: Sequence[_RunBatch], charges: Sequence[Mapping[int, walk.InCharge]]
) -> dict[int, list[walk.InCharge]]:
    """Return, by newcomer, how they are in charge of the alerts of which they are to be notified."""
    numbers: dict[int, int] = {}
    for number, batch in enumerate(batches):
        numbers.update(dict.fromkeys(batch.runs, number))
    charges_by_user: dict[int, list[walk.InCharge]] = defaultdict(list)
    for user_id, number in dict.fromkeys((user_id, numbers[run_id]) for run_id, user_id in pairs):
        charges_by_user[user_id].append(charges[number][user_id])
    return charges_by_user


def _directories(
    charges_by_user: Mapping[int, Sequence[walk.InCharge]],
    batches: Sequence[_RunBatch],
    charges: Sequence[Mapping[int, walk.InCharge]],
    directory: RecipientDirectory,
) -> dict[int, PlanDirectory]:
    """Return, by newcomer, the directory of the most urgent plan among the alerts that come in their one message."""
    directories: dict[int, PlanDirectory] = {}
    for batch, charge in zip(batches, charges, strict=True):
        plan_directory = directory.for_plan(batch.plan)
        for user_id in charge.keys() & charges_by_user.keys():
            # The same object: an equal charge may belong to a batch of which they were notified before.
            if any(charge[user_id] is user_charge for user_charge in charges_by_user[user_id]):
                candidates = (directories.get(user_id, plan_directory), plan_directory)
                directories[user_id] = max(candidates, key=lambda candidate: candidate.urgency)
    return directories


def _notify(
    pairs: Sequence[tuple[int, int]],
    charges_by_user: Mapping[int, Sequence[walk.InCharge]],
    directories: Mapping[int, PlanDirectory],
    *,
    now: datetime,
) -> None:
    """Write the pages and the timeline entries that say why, and let these people see the alerts."""
    users = User.objects.in_bulk(charges_by_user)
    reasons = _reasons(charges_by_user, users, now=now)
    alert_counts = Counter(user_id for _, user_id in pairs)
    pages: list[dict[str, Any]] = []
    for user_id, charges in charges_by_user.items():
        page, directory = charges[0].page, directories[user_id]
        for charge in charges[1:]:
            page = page.merged(charge.page)
        for method in directory.methods(page):
            for repeat, due_at in enumerate(directory.times(page, method)):
                # Several alerts share one message; a single one travels alone, or in the next bundle.
                message_id = uuid4() if alert_counts[user_id] > 1 else None
                pages.append(
                    {
                        "user_id": user_id,
                        "contact_method_id": method.pk,
                        "channel": method.kind,
                        "label": method.label,
                        "address": method.address,
                        "repeat": repeat,
                        "due_at": due_at,
                        "in_time": due_at <= now,
                        "message_id": message_id,
                        "text": reasons[user_id].for_message,
                    }
                )
    parameters: dict[str, Any] = {
        "runs": array(run_id for run_id, _ in pairs),
        "users": array(user_id for _, user_id in pairs),
        "pages": records(pages),
        "first": Notification.Urgency.FIRST,
        "further": Notification.Urgency.FURTHER,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "write_handoffs"), parameters)
    runs = EscalationRun.objects.filter(pk__in={run_id for run_id, _ in pairs})
    alert_ids = dict(runs.values_list("pk", "alert_id"))
    add_viewers([(alert_ids[run_id], user_id) for run_id, user_id in pairs])
    lines = [(alert_ids[run_id], reasons[user_id].for_timeline) for run_id, user_id in pairs]
    write_timeline(TimelineEntry.Kind.NOTIFIED, lines, now=now)
    wake_on_commit("escalation.deliver_due", queue="delivery")


def _reasons(
    charges_by_user: Mapping[int, Sequence[walk.InCharge]], users: Mapping[int, User], *, now: datetime
) -> dict[int, _Reason]:
    """Return, by person, since when they are on call, or else by which stage they are notified."""
    since = now - LOOK_BACK
    periods_by_user = on_call_periods(
        charges_by_user, starts_at=since, ends_at=now + timedelta(microseconds=1), near=now
    )
    targets = {charge.target for charge in chain.from_iterable(charges_by_user.values())}
    nested = nested_groups({target.id for target in targets if target.kind == "group"})
    reasons = {}
    for user_id, charges in charges_by_user.items():
        group_targets = [charge.target for charge in charges if charge.target.kind == "group"]
        group_ids = set(chain.from_iterable(nested[target.id] for target in group_targets))
        running = [
            period for period in periods_by_user[user_id] if period.ends_at > now and period.group.pk in group_ids
        ]
        newest = max(running, key=lambda period: period.starts_at, default=None)
        reasons[user_id] = _reason(users[user_id], newest, charges[0].page.stage, since=since)
    return reasons


def _reason(user: User, period: OnCallPeriod | None, stage: str, *, since: datetime) -> _Reason:
    if period is None:
        return _Reason(f"You can be notified now: {stage}.", f"{user} is notified now: {stage}.")
    covering = f" instead of {period.covering}" if period.covering else ""
    on_call = f"on call for {period.group}{covering}"
    if period.starts_at <= since:
        return _Reason(f"You are {on_call}.", f"{user} is {on_call}, and is notified now.")
    at = at_weekday(period.starts_at, zone=zone(user.time_zone))
    return _Reason(f"You came {on_call} at {at}.", f"{user} came {on_call}, and is notified now.")
