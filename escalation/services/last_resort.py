"""When a walk reaches nobody, the organization's Owner and App Admins are notified instead: why, and what to do."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.models import EMAIL_OFFICIAL, ContactMethod, Group, User
from accounts.windows import times_of_use
from alerting.models import TimelineEntry
from escalation import walk
from escalation.models import EscalationRun, Notification
from escalation.services.people import stewards
from heartbeat_project.kernel.doorbell import ring

log = logging.getLogger(__name__)

TAKE_IT = "Take it, or call somebody"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a walk reaches nobody, in sentences, and what would mend it for the next time ("enable it").

    `remedy` None: people who can be reached are missing where the walk leads.
    """

    why: str
    remedy: str | None = None


def tell_stewards(reasons: Mapping[EscalationRun, Reason], *, now: datetime) -> None:
    """Write the last-resort messages for these runs, whose rows the caller holds, once for each run ever.

    Each Owner and App Admin is notified over their own contact methods, as of an alert that cannot wait: without the
    delays. What was put away unsent, because somebody took the alert in between, is sent now.
    """
    again = [run.pk for run in reasons if run.last_resort_at is not None]
    put_away = Notification.objects.filter(
        alert__run__in=again, kind=Notification.Kind.LAST_RESORT, status=Notification.Status.SUPERSEDED
    )
    if again and put_away.update(status=Notification.Status.PENDING, next_attempt_at=now):
        ring("escalation.deliver_due", queue="delivery")
    fresh = {run: reason for run, reason in reasons.items() if run.last_resort_at is None}
    if not fresh:
        return
    EscalationRun.objects.filter(pk__in=[run.pk for run in fresh]).update(last_resort_at=now)
    people = stewards(run.alert.organization_id for run in fresh)
    uses = uses_at_once((user for users in people.values() for user in users), now=now)
    groups = _group_names(fresh)
    rows, lines = [], []
    for run, reason in fresh.items():
        run.last_resort_at = now
        users = people[run.alert.organization_id]
        rows += [
            _message(run, method, at=at, repeat=repeat, text=_text(run, reason, groups), now=now)
            for user in users
            for method, times in uses[user.pk]
            for repeat, at in enumerate(times)
        ]
        if users:
            said = f"{reason.why} Notifying {_in_a_row([str(user) for user in users])} instead."
        else:
            said = f"{reason.why} There is no active Owner or App Admin to notify instead."
            log.error("alert %s reaches nobody at all: %s", run.alert_id, said)
        lines.append(
            TimelineEntry(alert_id=run.alert_id, at=now, kind=TimelineEntry.Kind.LAST_RESORT, text=said),
        )
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    TimelineEntry.objects.bulk_create(lines)
    ring("escalation.deliver_due", queue="delivery")


def why_nobody(name: str, gaps: Iterable[walk.Gap], *more: str) -> Reason:
    """Return why a walk by the policy or play of this name reaches nobody: the stages in which nobody is, or can be."""
    stages: dict[str, list[str]] = {"Nobody can be reached in": [], "Nobody is in": []}
    for gap in gaps:
        stages["Nobody can be reached in" if gap.named else "Nobody is in"].append(gap.stage)
    found = [f"{what} {_in_a_row(list(dict.fromkeys(where)))}." for what, where in stages.items() if where]
    return Reason(" ".join([*(found or [f"“{name}” names nobody."]), *(part for part in more if part)]))


def uses_at_once(users: Iterable[User], *, now: datetime) -> dict[int, list[tuple[ContactMethod, Sequence[datetime]]]]:
    """Return each user's own enabled contact methods with the times of their use, as if none had a delay.

    Closed windows are kept; Email-Official, which everybody has, knows none.
    """
    methods = ContactMethod.objects.filter(user__in=list(users), enabled=True, verified_at__isnull=False)
    found: dict[int, list[tuple[ContactMethod, Sequence[datetime]]]] = defaultdict(list)
    for method in methods.select_related("user").order_by("user_id", "position", "id"):
        times = times_of_use(
            at=now,
            time_zone=method.holder.time_zone,
            repeat_count=method.repeat_count,
            repeat_gap_minutes=float(method.repeat_gap_minutes),
            windows=method.windows,
        )
        if times:
            found[method.user_id or 0].append((method, times))
    return found


def official_addresses(users: Iterable[User]) -> dict[int, ContactMethod]:
    """Return the Email-Official contact method of each user, which everybody has."""
    methods = ContactMethod.objects.select_related("user").filter(user__in=list(users), label=EMAIL_OFFICIAL)
    return {method.user_id or 0: method for method in methods}


def email_to(method: ContactMethod, *, kind: Notification.Kind, organization_id: int, now: datetime) -> Notification:
    """Return an unsaved last resort or notice over this contact method, due now."""
    urgency = Notification.Urgency.FIRST if kind == Notification.Kind.LAST_RESORT else Notification.Urgency.NEWS
    return Notification(
        organization_id=organization_id,
        kind=kind,
        urgency=urgency,
        user_id=method.user_id,
        contact_method=method,
        channel=method.kind,
        label=method.label,
        address=method.address,
        created_at=now,
        next_attempt_at=now,
    )


def _message(
    run: EscalationRun, method: ContactMethod, *, at: datetime, repeat: int, text: str, now: datetime
) -> Notification:
    kind = Notification.Kind.LAST_RESORT
    row = email_to(method, kind=kind, organization_id=run.alert.organization_id, now=now)
    row.alert, row.run, row.step, row.text = run.alert, run, run.step, text
    row.repeat, row.next_attempt_at = repeat, at
    return row


def _text(run: EscalationRun, reason: Reason, groups: Mapping[int, str]) -> str:
    """Return what to do and, on the next line, why: templates show the two apart."""
    remedy = reason.remedy if reason.remedy is not None else _remedy(run, groups)
    return f"{TAKE_IT}{f'; then {remedy}' if remedy else ''}.\n{reason.why}"


def _remedy(run: EscalationRun, groups: Mapping[int, str]) -> str:
    named = [f"“{groups[group_id]}”" for group_id in _group_ids(run) if group_id in groups]
    if not named:
        return "name a group or a person who can be reached"
    return f"put somebody who can be reached into {'the group' if len(named) == 1 else 'one of the groups'} " + (
        _in_a_row(named, last="or")
    )


def _group_names(runs: Iterable[EscalationRun]) -> dict[int, str]:
    ids = {group_id for run in runs for group_id in _group_ids(run)}
    return dict(Group.objects.filter(pk__in=ids).values_list("pk", "name")) if ids else {}


def _group_ids(run: EscalationRun) -> list[int]:
    """Return the groups that the run's plan names, each once."""
    # As Plan.dump gives it: in a storm thousands of runs are asked.
    targets = (target for track in run.plan["tracks"] for stage in track["stages"] for target in stage["targets"])
    return list(dict.fromkeys(target["id"] for target in targets if target["kind"] == "group"))


def _in_a_row(names: Sequence[str], *, last: str = "and") -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return f" {last} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
