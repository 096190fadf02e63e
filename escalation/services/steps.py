"""What a step of a walk writes: notifications, lines in the timeline, who may now see the alert."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import F

from accounts.models import ContactMethod
from alerting.models import TimelineEntry
from alerting.services import add_viewers, write_timeline
from escalation import walk
from escalation.models import EscalationRun, Notification
from escalation.services.last_resort import tell_stewards
from escalation.services.people import Directory, Redirect
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import array, records, statement

HOPEFUL = (
    Notification.Status.PENDING,
    Notification.Status.SENDING,
    Notification.Status.ACCEPTED,
    Notification.Status.DELIVERED,
)
ONLY_SHARED = "Only the shared contacts of groups are told."
_Kind = TimelineEntry.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one moment brings to runs that stand at the same place of the same plan.

    `number` is EscalationRun.step after it, `name` the policy's or play's, `runs` their (run id, alert id); `contacts`
    are told beside the people, because their groups are.
    """

    organization_id: int
    name: str
    number: int
    advance: walk.Advance
    contacts: tuple[ContactMethod, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    runs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def next_at(self) -> datetime | None:
        """When the runs go on; None when nothing more comes."""
        return self.advance.position.next_at


def take_step(
    plan: walk.Plan,
    position: walk.Position,
    directory: Directory,
    *,
    organization_id: int,
    name: str,
    taken: int,
    opted_out: Collection[int],
    now: datetime,
) -> Step:
    """Return the step that comes after `taken` others; the caller saves its runs, then calls `write_steps`."""
    redirects: dict[Redirect, None] = {}

    def people(target: walk.Target) -> Sequence[int]:
        redirects.update(dict.fromkeys(directory.redirects(target)))
        return directory.people(target)

    def reachable(person: int, stage: walk.Stage) -> bool:
        return person not in opted_out and directory.reachable(person, stage)

    advance = walk.advance(plan, position, now=now, people=people, reachable=reachable)
    contacts = tuple(directory.contacts(advance.groups))
    again = {retry.person for retry in position.retries}
    first_told = {tell.person for tell in advance.tells if not tell.round or tell.person not in again}
    return Step(
        organization_id=organization_id,
        name=name,
        number=taken + 1 if advance.tells or contacts else taken,
        advance=advance,
        contacts=contacts,
        redirects=tuple(redirect for redirect in redirects if redirect.to in first_told),
    )


def write_steps(steps: Sequence[Step], directory: Directory, *, now: datetime) -> None:
    """Write what saved runs came to, in a number of statements that does not depend on how many there are."""
    told = [step for step in steps if step.advance.tells or step.contacts]
    if told:
        _write_pages(told, directory, now=now)
        add_viewers(
            [(alert_id, tell.person) for step in told for _, alert_id in step.runs for tell in step.advance.tells]
        )
        ring("escalation.deliver_due", queue="delivery")
    redirected = [
        (alert_id, str(redirect)) for step in steps for _, alert_id in step.runs for redirect in step.redirects
    ]
    passed_over = [(alert_id, str(gap)) for step in steps for _, alert_id in step.runs for gap in step.advance.gaps]
    for kind, lines in ((_Kind.TOLD, redirected), (_Kind.SKIPPED, passed_over)):
        if lines:
            write_timeline(kind, lines, now=now)
    ended = [step for step in steps if step.next_at is None]
    if ended:
        _write_ends(ended, now=now)


def without_hope(run_ids: Sequence[int]) -> set[int]:
    """Return those of the runs that have no page which reached a person or still may."""
    if not run_ids:
        return set()
    hopeful = Notification.objects.filter(
        alert__run__in=run_ids,
        step__gt=F("run__since_step"),
        kind=Notification.Kind.PAGE,
        status__in=HOPEFUL,
        user__isnull=False,
    )
    return set(run_ids) - set(hopeful.values_list("run_id", flat=True).distinct())


def _write_pages(steps: Sequence[Step], directory: Directory, *, now: datetime) -> None:
    """Write a row for each use of each contact method of each person, and for each contact that a group shares.

    Two engines cannot step the same run; a row that is there already means that this very step was written before.
    """
    runs = [(run_id, alert_id, step, place) for place, step in enumerate(steps) for run_id, alert_id in step.runs]
    pages = [
        _page(method, step, place=place, round_=tell.round, repeat=repeat, due_at=due_at)
        for place, step in enumerate(steps)
        for tell in step.advance.tells
        for method in directory.methods(tell)
        for repeat, due_at in enumerate(directory.times(tell, method))
    ]
    pages += [
        _page(method, step, place=place, due_at=now) for place, step in enumerate(steps) for method in step.contacts
    ]
    parameters: dict[str, Any] = {
        "runs": array(run_id for run_id, _, _, _ in runs),
        "alerts": array(alert_id for _, alert_id, _, _ in runs),
        "organizations": array(step.organization_id for _, _, step, _ in runs),
        "places": array(place for _, _, _, place in runs),
        "pages": records(pages),
        "first": Notification.Urgency.FIRST,
        "further": Notification.Urgency.FURTHER,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "write_pages"), parameters)


def _page(
    method: ContactMethod, step: Step, *, place: int, due_at: datetime, round_: int = 0, repeat: int = 0
) -> dict[str, Any]:
    return {
        "place": place,
        "user_id": method.user_id,
        "group_id": method.group_id,
        "contact_method_id": method.pk,
        "channel": method.kind,
        "label": method.label,
        "address": method.address,
        "step": step.number,
        "round": round_,
        "repeat": repeat,
        "due_at": due_at,
    }


def _write_ends(ended: Sequence[Step], *, now: datetime) -> None:
    """Say that a walk is over; where it told nobody, tell the Owners and App Admins."""
    hopeless = without_hope([run_id for step in ended for run_id, _ in step.runs])
    over = [
        (alert_id, f"No further step follows in “{step.name}”.")
        for step in ended
        for run_id, alert_id in step.runs
        if run_id not in hopeless
    ]
    if over:
        write_timeline(_Kind.WALK_ENDED, over, now=now)
    if hopeless:
        reasons = {run_id: _why_nobody(step) for step in ended for run_id, _ in step.runs}
        runs = EscalationRun.objects.select_related("alert").filter(pk__in=hopeless).order_by("id")
        tell_stewards({run: reasons[run.pk] for run in runs}, now=now)


def _why_nobody(step: Step) -> str:
    """Say why the walk told nobody in person."""
    position = step.advance.position
    if position.told or position.lap:
        return f"Nobody whom “{step.name}” names could be told: every notification failed."
    said = " ".join(str(gap) for gap in step.advance.gaps)
    shared = ONLY_SHARED if step.number else ""
    return " ".join(part for part in (f"Nobody whom “{step.name}” names can be reached.", said, shared) if part)
