"""The last resort: if a walk reaches nobody, the Owner and App Admins are notified instead, with why and what to do."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from accounts.models.contact_methods import ContactMethod, Priority
from accounts.models.groups import Group
from accounts.models.users import User
from accounts.selectors import fallback_recipients
from accounts.windows import times_of_use
from alerting.models.alerts import TimelineEntry
from escalation.engine import walk
from escalation.engine.notices import email_to
from escalation.models.nights import Nights
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import zone

log = logging.getLogger(__name__)

# The first thing to do, in messages to the Owner and App Admins.
TAKE_IT = "Take it, or call somebody"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a walk reaches nobody, in sentences, and what would mend it for the next time ("enable it").

    If `remedy` is None, the groups of the walk lack people who can be reached, and the message says that.
    """

    why: str
    remedy: str | None = None


def notify_fallback_recipients(
    reasons: Mapping[EscalationRun, Reason], *, wakes_nobody: bool = False, now: datetime
) -> None:
    """Write the last-resort messages for these runs, once for each run ever. The caller holds the runs' rows.

    Each Owner and App Admin is notified over their own contact methods, as of an alert that cannot wait: without the
    delays. Messages that were superseded unsent, because somebody took the alert in between, are sent now. With
    `wakes_nobody` messages about an alert that waits at night are due in their reader's morning.
    """
    notified_before = [run.pk for run in reasons if run.last_resort_at is not None]
    superseded = Notification.objects.filter(
        alert__run__in=notified_before, kind=Notification.Kind.LAST_RESORT, status=Notification.Status.SUPERSEDED
    )
    if notified_before and superseded.update(status=Notification.Status.PENDING, next_attempt_at=now):
        wake_on_commit("escalation.deliver_due", queue="delivery")
    first_reasons = {run: reason for run, reason in reasons.items() if run.last_resort_at is None}
    if not first_reasons:
        return
    EscalationRun.objects.filter(pk__in=[run.pk for run in first_reasons]).update(last_resort_at=now)
    people = fallback_recipients(run.alert.organization_id for run in first_reasons)
    uses = uses_at_once(chain.from_iterable(people.values()), now=now)
    group_names = _group_names(first_reasons)
    messages, entries = [], []
    for run, reason in first_reasons.items():
        run.last_resort_at = now
        users = people[run.alert.organization_id]
        text = _text(run, reason, group_names)
        for user in users:
            for method, times in uses[user.pk]:
                for repeat, at in enumerate(times):
                    due_at = _after_the_night(run, user, at) if wakes_nobody else at
                    messages.append(_message(run, method, due_at=due_at, repeat=repeat, text=text, now=now))
        if users:
            sentence = f"{reason.why} Notifying {_in_a_row([str(user) for user in users])} instead."
        else:
            sentence = f"{reason.why} There is no active Owner or App Admin to notify instead."
            log.error("alert %s reaches nobody at all: %s", run.alert_id, sentence)
        entries.append(
            TimelineEntry(alert_id=run.alert_id, at=now, kind=TimelineEntry.Kind.LAST_RESORT, text=sentence),
        )
    # A message that is there already was written by another worker for the same step.
    Notification.objects.bulk_create(messages, ignore_conflicts=True)
    TimelineEntry.objects.bulk_create(entries)
    wake_on_commit("escalation.deliver_due", queue="delivery")


def why_nobody(name: str, skipped_stages: Iterable[walk.SkippedStage], *more: str) -> Reason:
    """Return why a walk by the policy or play of this name reaches nobody; `more` are further sentences.

    It names the stages whose people cannot be reached, and those that have no people.
    """
    unreachable: dict[str, None] = {}
    empty: dict[str, None] = {}
    for skipped_stage in skipped_stages:
        stages = unreachable if skipped_stage.people else empty
        stages[skipped_stage.stage] = None
    sentences = []
    if unreachable:
        sentences.append(f"Nobody can be reached in {_in_a_row(list(unreachable))}.")
    if empty:
        sentences.append(f"Nobody is in {_in_a_row(list(empty))}.")
    if not sentences:
        sentences.append(f"“{name}” has nobody to notify: name a group or a person.")
    return Reason(" ".join([*sentences, *filter(None, more)]))


def uses_at_once(users: Iterable[User], *, now: datetime) -> dict[int, list[tuple[ContactMethod, Sequence[datetime]]]]:
    """Return, by user id, the enabled contact methods with their times of use for a Critical alert, without delays.

    A closed window is respected if its owner wants that even for Critical alerts. Email-Official, which everybody has,
    has no windows.
    """
    methods = ContactMethod.objects.filter(user__in=list(users), enabled=True, verified_at__isnull=False)
    uses: dict[int, list[tuple[ContactMethod, Sequence[datetime]]]] = defaultdict(list)
    for method in methods.select_related("user").order_by("user_id", "position", "id"):
        times = times_of_use(
            method, at=now, time_zone=method.holder.time_zone, priority=Priority.CRITICAL, delayed=False
        )
        if times:
            uses[method.user_id or 0].append((method, times))
    return uses


def _message(
    run: EscalationRun, method: ContactMethod, *, due_at: datetime, repeat: int, text: str, now: datetime
) -> Notification:
    kind = Notification.Kind.LAST_RESORT
    row = email_to(method, kind=kind, organization_id=run.alert.organization_id, now=now)
    row.alert, row.run, row.step, row.text = run.alert, run, run.step, text
    row.repeat, row.next_attempt_at, row.priority_rank = repeat, due_at, 0
    return row


def _after_the_night(run: EscalationRun, user: User, at: datetime) -> datetime:
    nights = Nights.until(run.plan.get("low_waits_until"))
    return (nights.morning(at, zone=zone(user.time_zone)) if nights is not None else None) or at


def _text(run: EscalationRun, reason: Reason, groups: Mapping[int, str]) -> str:
    """Return what to do and, on the next line, why: templates show the two apart."""
    remedy = reason.remedy if reason.remedy is not None else _remedy(run, groups)
    todo = f"{TAKE_IT}; then {remedy}" if remedy else TAKE_IT
    return f"{todo}.\n{reason.why}"


def _remedy(run: EscalationRun, groups: Mapping[int, str]) -> str:
    group_names = [f"“{groups[group_id]}”" for group_id in _group_ids(run) if group_id in groups]
    if not group_names:
        return "name a group or a person who can be reached"
    return f"add somebody who can be reached to {_in_a_row(group_names, last='or')}"


def _group_names(runs: Iterable[EscalationRun]) -> dict[int, str]:
    ids = set(chain.from_iterable(_group_ids(run) for run in runs))
    return dict(Group.objects.filter(pk__in=ids).values_list("pk", "name")) if ids else {}


def _group_ids(run: EscalationRun) -> list[int]:
    """Return the ids of the groups that the run's plan names, each once."""
    # The stored plan is read as it is: in a storm, to load thousands of plans would take long.
    ids: dict[int, None] = {}
    for track in run.plan["tracks"]:
        for stage in track["stages"]:
            ids.update((target["id"], None) for target in stage["targets"] if target["kind"] == "group")
    return list(ids)


def _in_a_row(names: Sequence[str], *, last: str = "and") -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return f" {last} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
