"""The check before a send: an older notification is sent only if its reader still wants it, over this method.

Delays, repeats, retries, limits and holds lie between the moment when a page is written and the moment when it is sent.
Meanwhile its reader may have switched the method off, gone out of office, or left the group. Users who went off call
in between still get what was written for them: hand-offs notify their successor, see escalation.engine.handoffs.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db import connection, transaction
from django.db.models import F, Q, TextField
from django.db.models.functions import Cast

from accounts.models.contact_methods import ContactMethod, Priority
from accounts.models.users import User
from accounts.selectors import opted_out
from accounts.windows import is_open, is_used
from alerting.models.alerts import Alert, TimelineEntry
from alerting.services.alerts import add_viewers, write_timeline
from escalation.engine import walk
from escalation.engine.last_resort import Reason
from escalation.engine.plan import Plan, Stage, Target
from escalation.engine.reached import answered, people_behind
from escalation.engine.recipients import RecipientDirectory, Redirect
from escalation.models.notifications import TO_OWNER, Notification
from escalation.models.on_call import OutOfOffice
from escalation.models.runs import EscalationRun
from escalation.notifications.after_failures import go_on_where_stuck
from escalation.notifications.claim import Claim, Claimed, messages_in, most_urgent_first
from escalation.notifications.outcomes import settle_recoveries
from escalation.notifications.timeline_names import message_to
from escalation.oncall.rotas import absences_at
from heartbeat_project.kernel.sql import array, records, statement
from heartbeat_project.kernel.wakeup import wake_on_commit

# Notifications that are younger than this are not checked again: they were written by the same rules just now.
FRESH: Final = timedelta(seconds=5)
# The same for those that only waited for their bundle window, so that a storm costs no check for each message.
FRESH_IN_A_STORM: Final = timedelta(seconds=15)
_Kind, _Status = Notification.Kind, Notification.Status
_NOBODY_LEFT: Final = "Nobody is left who was to be notified in this step."


class _Row(NamedTuple):
    """The columns of a notification that a check needs; a tuple, because a bundle may hold thousands."""

    pk: UUID
    message_id: UUID | None
    kind: str
    user: int | None
    contact_method: int | None
    run: int | None
    alert: int | None
    integration: int | None
    priority: str | None
    step: int
    retry: int
    repeat: int
    asked_for: bool


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Why a notification is not sent, as the end of a sentence; with `redirect`, who is notified instead of its reader.

    `stage` and `plan` are then the stage in which the redirect was found, and its plan.
    """

    why: str
    redirect: Redirect | None = None
    stage: Stage | None = None
    plan: Plan | None = None


def judge_again(claimed: Claimed, *, now: datetime) -> Claimed:
    """Return the claimed messages without notifications that are not wanted any more; supersede those and log why.

    The number of queries does not depend on the number of messages; for fresh messages there are none.
    """
    old = {message.message_id: message for message in claimed.messages if _is_old(message, now=now)}
    if not old:
        return claimed
    leases = {message.lease_ends for message in old.values()}
    rows = _rows(Q(message_id__in=old, status=_Status.SENDING, next_attempt_at__in=leases))
    judge = _Judge(rows, now=now)
    verdicts = judge.verdicts()
    if not verdicts:
        return claimed
    _supersede([row for row in rows if row.pk in verdicts], verdicts, judge, leases=leases, now=now)
    # Bundles that lost some of their notifications are read anew, with those that are left.
    remaining: dict[UUID, list[_Row]] = defaultdict(list)
    for row in rows:
        if row.pk not in verdicts and row.message_id is not None:
            remaining[row.message_id].append(row)
    changed = {row.message_id for row in rows if row.pk in verdicts and row.message_id is not None}
    messages = [message for message in claimed.messages if message.message_id not in changed]
    messages += messages_in(
        [_smaller(old[message_id], remaining[message_id]) for message_id in changed & remaining.keys()]
    )
    return replace(claimed, messages=sorted(messages, key=most_urgent_first))


def move_to_covers(*, now: datetime) -> int:
    """Move pending pages of people who are out of office to their covers; return the number of pages moved."""
    away = OutOfOffice.objects.filter(starts_at__lte=now, ends_at__gt=now).order_by().values("user")
    waiting = Q(
        # These conditions match the index notification_for_bundle_window. A retry is checked when it is claimed.
        contact_method__in=ContactMethod.objects.filter(user__in=away).values("pk"),
        kind=_Kind.PAGE,
        status=_Status.PENDING,
        next_attempt_at__isnull=False,
        message_id__isnull=True,
    )
    # Pages of alerts that somebody has, or that their reader answered, are not sent any more: no cover needs them.
    waiting &= Q(alert__status=Alert.Status.OPEN) | Q(asked_for=True)
    waiting &= ~Q(answered())
    rows = _rows(waiting)
    if not rows:
        return 0
    judge = _Judge(rows, now=now)
    moved = {pk: verdict for pk, verdict in judge.verdicts().items() if verdict.redirect is not None}
    if moved:
        _supersede([row for row in rows if row.pk in moved], moved, judge, leases=(), now=now)
    return len(moved)


def _is_old(message: Claim, *, now: datetime) -> bool:
    """Return whether the message is old enough to be checked again, and of a kind that people can stop."""
    notification = message.notification
    # A lost message may have arrived: it is not superseded, because its failure has to be recorded.
    if message.lost or message.since is None or notification.kind not in (_Kind.PAGE, _Kind.LAST_RESORT, *TO_OWNER):
        return False
    only_bundled = message.alerts > 1 and message.attempts == 1 and notification.repeat == 0
    method = notification.contact_method
    if only_bundled and message.limited_since is None and method is not None and not method.delay_minutes:
        return now - message.since >= FRESH_IN_A_STORM
    return now - message.since >= FRESH


def _rows(condition: Q) -> list[_Row]:
    fields = (
        *("pk", "message_id", "kind", "user_id", "contact_method_id", "run_id", "alert_id", "alert__integration_id"),
        *("alert__priority", "step", "retry", "repeat", "asked_for"),
    )
    notifications = Notification.objects.filter(condition).order_by("priority_rank", "created_at", "pk")
    return [_Row(*values) for values in notifications.values_list(*fields)]


def _smaller(message: Claim, rows: Sequence[_Row]) -> Claim:
    """Return the claim with only these notifications in its message."""
    first = Notification(pk=rows[0].pk)
    return replace(message, notification=first, alerts=len({row.alert for row in rows}), listed=(), reason="")


class _Judge:
    """Decides which notifications are not wanted any more, on data that is read for all of them at once."""

    def __init__(self, rows: Sequence[_Row], *, now: datetime) -> None:
        self._rows = rows
        self._now = now
        self._methods = ContactMethod.objects.select_related("user", "group__organization").in_bulk(
            {row.contact_method for row in rows if row.contact_method}
        )
        self._unwilling = opted_out({row.integration for row in rows})
        pages = [row for row in rows if row.kind == _Kind.PAGE and row.user and row.run]
        # In a storm thousands of runs share a few plans: each plan is read and loaded once, by its text.
        runs = EscalationRun.objects.filter(pk__in={row.run for row in pages})
        plans = runs.order_by().values(text=Cast("plan", TextField())).annotate(runs=ArrayAgg("pk"))
        texts = list(plans.values_list("text", "runs")) if pages else []
        self._plans = {text: _load(text) for text, _ in texts}
        self._plan_of: dict[int, str] = {}
        for text, run_ids in texts:
            self._plan_of.update(dict.fromkeys(run_ids, text))
        people = {row.user for row in pages if row.user}
        self._behind = people_behind(self._plans) if pages else {}
        away = [entry.absence for entry in absences_at(people, at=now)] if people else []
        self._absent = {absence.user for absence in away} & people
        self._everywhere = {absence.user for absence in away if absence.group is None}
        concerned = {self._plan_of[row.run] for row in pages if row.user in self._absent and row.run in self._plan_of}
        self._directory = (
            RecipientDirectory.of([self._plans[text] for text in concerned], now=now) if concerned else None
        )
        self._verdict_by_key: dict[tuple[Any, ...], _Verdict | None] = {}

    def verdicts(self) -> dict[UUID, _Verdict]:
        """Return the verdicts of the notifications that are not to be sent, by their ids."""
        verdict_by_id = ((row.pk, self._verdict(row)) for row in self._rows)
        return {pk: verdict for pk, verdict in verdict_by_id if verdict is not None}

    def _verdict(self, row: _Row) -> _Verdict | None:
        """Return the verdict on a notification, decided once for all that are alike."""
        plan = self._plan_of.get(row.run or 0)
        key = (row.kind, row.user, row.contact_method, row.priority, row.integration, row.asked_for, row.repeat > 0)
        if (*key, plan) not in self._verdict_by_key:
            self._verdict_by_key[*key, plan] = self._decide(row, plan)
        return self._verdict_by_key[*key, plan]

    def _decide(self, row: _Row, plan: str | None) -> _Verdict | None:
        method = self._methods.get(row.contact_method or 0)
        # A method that was removed, is not verified, or belongs to an inactive user is left to the send: it fails
        # there, and the next method is used.
        if method is None or method.verified_at is None or (method.user and not method.user.is_active):
            return None
        if method.user is None:
            return None if method.enabled else _Verdict("it was switched off since")
        if row.kind == _Kind.PAGE and plan is not None:
            if verdict := self._not_to_be_notified(method.user, row, plan):
                return verdict
            # A centralized policy chooses the contact methods, whatever the person prefers.
            if not row.asked_for and _is_centralized(self._plans[plan]):
                return None
        # The first message of a last resort goes out, whatever its reader changed.
        if row.kind == _Kind.LAST_RESORT and not row.repeat:
            return None
        # A last resort is sent as a Critical alert, whatever the alert's own priority.
        priority = row.priority or Priority.CRITICAL
        if row.kind == _Kind.LAST_RESORT:
            priority = Priority.CRITICAL
        return self._not_used(method, method.user, priority=priority)

    def _not_to_be_notified(self, user: User, row: _Row, plan: str) -> _Verdict | None:
        """Return the verdict on a person who is not to be notified any more over any method; None for others."""
        if self.is_unwilling(user.pk, row.integration):
            return _Verdict(f"{user} does not want to be notified about this any more")
        if user.pk in self._absent and (verdict := self._out_of_office(user, self._plans[plan])):
            return verdict
        if user.pk not in self._behind[plan]:
            return _Verdict(f"{user} is in no group any more that it is for")
        return None

    def _not_used(self, method: ContactMethod, user: User, *, priority: str) -> _Verdict | None:
        """Return the verdict on a method that its owner does not use now for this priority; None if they do."""
        if method.enabled and is_used(method, at=self._now, time_zone=user.time_zone, priority=priority):
            return None
        if not method.enabled:
            return _Verdict(f"{user} has switched it off since")
        if not is_open(method.windows, at=self._now, time_zone=user.time_zone):
            return _Verdict(f"it is outside the hours in which {user} uses it")
        return _Verdict(f"{user} does not use it for this priority any more")

    def _out_of_office(self, user: User, plan: Plan) -> _Verdict | None:
        """Return the verdict on a person who is out of office; None if they are still reached in another way.

        A path is the chain of people from a target over covers to the person who is notified.
        """
        assert self._directory is not None  # noqa: S101 - __init__ reads it if anybody is out
        redirected: _Verdict | None = None
        for stage, target in _targets(plan):
            for path, redirect in self._directory.paths(target):
                # Out in one group only, and on call in another: they are reached.
                if path[-1] == user.pk:
                    return None
                if user.pk in path and redirect is not None and redirected is None:
                    redirected = _Verdict(f"{user} is out of office", redirect, stage, plan)
        if redirected is None and user.pk in self._everywhere:
            # They are not on call any more either: a hand-off has notified their successor.
            return _Verdict(f"{user} is out of office")
        return redirected

    def is_unwilling(self, user: int, integration: int | None) -> bool:
        """Return whether a person opted out of an integration."""
        return user in self._unwilling.get(integration, ())

    def pages_of(self, verdict: _Verdict) -> Iterator[tuple[ContactMethod, int, datetime]]:
        """Yield the pages of the cover: the contact method, the number of the repeat from 0 on, and when it is due."""
        assert self._directory is not None  # noqa: S101 - as in _out_of_office
        assert verdict.redirect is not None  # noqa: S101 - callers ask only for verdicts with a redirect
        assert verdict.stage is not None  # noqa: S101 - stands beside redirect
        assert verdict.plan is not None  # noqa: S101 - stands beside redirect
        stage, directory = verdict.stage, self._directory.for_plan(verdict.plan)
        page = walk.Page(verdict.redirect.to, stage.label, 0, stage.labels, stage.centralized)
        for method in directory.methods(page):
            for repeat, due_at in enumerate(directory.times(page, method)):
                yield method, repeat, due_at


def _supersede(
    rows: Sequence[_Row],
    verdicts: Mapping[UUID, _Verdict],
    judge: _Judge,
    *,
    leases: Collection[datetime],
    now: datetime,
) -> None:
    """Supersede these notifications, log why, notify covers, and let walks go on that reach nobody any more.

    A claimed notification is superseded only while its lease is one of `leases`.
    """
    moved = [(row, verdict) for row in rows if (verdict := verdicts[row.pk]).redirect is not None]
    with transaction.atomic():
        # Runs before notifications, as in outcomes.record: if the last two messages of a walk end at once, one of the
        # two transactions must see the other's end.
        locked_runs = EscalationRun.objects.select_for_update(no_key=True, of=("self",)).select_related("alert")
        runs = {run.pk: run for run in locked_runs.filter(pk__in={row.run for row in rows if row.run}).order_by("pk")}
        ids = {row.pk for row in rows} | _still_to_come(row for row, _ in moved)
        locked = Notification.objects.select_for_update(of=("self",)).select_related("user", "group")
        # Checked under the lock: another worker may have sent one of them meanwhile.
        superseded = {
            notification.pk: notification
            # In id order, so that two callers never deadlock.
            for notification in locked.filter(pk__in=ids).order_by("pk")
            if notification.status == _Status.PENDING
            or (notification.status == _Status.SENDING and notification.next_attempt_at in leases)
        }
        claimed = {pk for pk, notification in superseded.items() if notification.status == _Status.SENDING}
        Notification.objects.filter(pk__in=superseded.keys() - claimed).update(
            status=_Status.SUPERSEDED, next_attempt_at=None, in_time=False
        )
        # The claim counted a try that did not happen. They leave their message: an answer to it is not about them.
        Notification.objects.filter(pk__in=claimed).update(
            status=_Status.SUPERSEDED,
            next_attempt_at=None,
            in_time=False,
            attempts=F("attempts") - 1,
            possibly_sent_at=None,
            message_id=None,
        )
        lines = []
        for row in rows:
            if row.alert is not None and row.pk in superseded:
                verdict = verdicts[row.pk]
                not_sent = f"{message_to(superseded[row.pk])}: not sent, because {verdict.why}"
                lines.append((row.alert, str(verdict.redirect or not_sent)))
        # Several methods of one person may lead to the same line.
        write_timeline(TimelineEntry.Kind.NOTIFIED, list(dict.fromkeys(lines)), now=now)
        _notify_covers(moved, judge, runs, now=now)
        _go_on([row for row in rows if row.pk in superseded], runs, now=now)
        settle_recoveries(list(claimed), now=now)


def _still_to_come(moved: Iterable[_Row]) -> set[UUID]:
    """Return the other pending pages of these people about these alerts: their covers get those, too."""
    people = {(row.alert, row.user) for row in moved}
    if not people:
        return set()
    pending = Notification.objects.filter(
        alert__in={alert for alert, _ in people}, kind=_Kind.PAGE, status=_Status.PENDING
    ).values_list("pk", "alert_id", "user_id")
    return {pk for pk, alert, user in pending if (alert, user) in people}


def _notify_covers(
    moved: Sequence[tuple[_Row, _Verdict]], judge: _Judge, runs: Mapping[int, EscalationRun], *, now: datetime
) -> None:
    """Write pages to covers, with the step of the page that they replace; no step notifies a cover twice."""
    steps: dict[tuple[int, int], tuple[_Row, _Verdict]] = {}
    for row, verdict in moved:
        if row.run is not None and row.run in runs and verdict.redirect is not None:
            steps.setdefault((row.run, verdict.redirect.to), (row, verdict))
    if not steps:
        return
    cover_pages = Notification.objects.filter(
        alert__in={row.alert for row, _ in steps.values()}, kind=_Kind.PAGE, user__in={to for _, to in steps}
    ).exclude(status__in=[_Status.FAILED, _Status.SUPERSEDED])
    newest_step: dict[tuple[int, int], int] = defaultdict(int)
    for run_id, user_id, step in cover_pages.values_list("run_id", "user_id", "step"):
        newest_step[run_id or 0, user_id or 0] = max(step, newest_step[run_id or 0, user_id or 0])
    texts = dict(Notification.objects.filter(pk__in=[row.pk for row, _ in steps.values()]).values_list("pk", "text"))
    paged_runs: list[EscalationRun] = []
    viewers: list[tuple[int, int]] = []
    pages: list[dict[str, Any]] = []
    for (run_id, to), (row, verdict) in steps.items():
        if newest_step[run_id, to] >= row.step or judge.is_unwilling(to, row.integration):
            continue
        run = runs[run_id]
        for method, repeat, due_at in judge.pages_of(verdict):
            page = {
                # write_pages joins each page to its run by this number.
                "number": len(paged_runs),
                "user_id": method.user_id,
                "contact_method_id": method.pk,
                "channel": method.kind,
                "label": method.label,
                "address": method.address,
                "step": row.step,
                "retry": row.retry,
                "repeat": repeat,
                "due_at": due_at,
                "in_time": method.failing_since is None and due_at <= max(run.next_step_at or now, now),
            }
            if row.asked_for:
                page["text"] = texts[row.pk]
            pages.append(page)
        paged_runs.append(run)
        viewers.append((run.alert_id, to))
    if not pages:
        return
    parameters: dict[str, Any] = {
        "runs": array(run.pk for run in paged_runs),
        "alerts": array(run.alert_id for run in paged_runs),
        "organizations": array(run.alert.organization_id for run in paged_runs),
        "numbers": array(range(len(paged_runs))),
        "pages": records(pages),
        "first": Notification.Urgency.FIRST,
        "further": Notification.Urgency.FURTHER,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "write_pages"), parameters)
    add_viewers(viewers)
    wake_on_commit("escalation.deliver_due", queue="delivery")


def _go_on(rows: Iterable[_Row], runs: Mapping[int, EscalationRun], *, now: datetime) -> None:
    """Take the next step at once in walks whose last reader was lost with the superseded pages."""
    open_runs = {run_id: run for run_id, run in runs.items() if run.alert.status == Alert.Status.OPEN}
    lost = {(row.run, row.step) for row in rows if row.kind == _Kind.PAGE and row.user and row.run in open_runs}
    stuck = go_on_where_stuck(
        {(run_id or 0, step) for run_id, step in lost}, open_runs, why=lambda _: Reason(_NOBODY_LEFT), now=now
    )
    going = [runs[run_id].alert_id for run_id in sorted(stuck) if runs[run_id].next_step_at == now]
    if going:
        lines = [(alert_id, f"{_NOBODY_LEFT} Going on at once.") for alert_id in going]
        write_timeline(TimelineEntry.Kind.SKIPPED, lines, now=now)


def _targets(plan: Plan) -> Iterator[tuple[Stage, Target]]:
    for stage in _stages(plan):
        for target in stage.targets:
            yield stage, target


def _stages(plan: Plan) -> Iterator[Stage]:
    return chain.from_iterable(track.stages for track in plan.tracks)


def _is_centralized(plan: Plan) -> bool:
    return any(stage.centralized for stage in _stages(plan))


def _load(text: str) -> Plan:
    return Plan.load(json.loads(text))
