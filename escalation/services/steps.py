"""What a step of a walk writes: notifications, lines in the timeline, who may now see the alert."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from accounts.models import ContactMethod
from alerting.models import TimelineEntry
from alerting.services import add_viewers, write_timeline
from escalation import walk
from escalation.models import EscalationRun, Notification
from escalation.services.last_resort import Reason, tell_stewards, why_nobody
from escalation.services.people import Directory, Redirect
from escalation.services.reached import runs_that_reach_nobody
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import array, records, statement

ONLY_SHARED = "Only the shared contacts of groups are told."
ONLY_INFORMED = "Only people who cannot answer, or not in time, are notified."
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

    def first_use(person: int, stage: walk.Stage) -> float | None:
        return None if person in opted_out else directory.first_use(person, stage)

    advance = walk.advance(plan, position, now=now, people=people, first_use=first_use)
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


def _write_pages(steps: Sequence[Step], directory: Directory, *, now: datetime) -> None:
    """Write a row for each use of each contact method of each person, and for each contact that a group shares.

    Two engines cannot step the same run; a row that is there already means that this very step was written before.
    """
    runs = [(run_id, alert_id, step, place) for place, step in enumerate(steps) for run_id, alert_id in step.runs]
    pages = [
        _page(
            method,
            step,
            place=place,
            round_=tell.round,
            repeat=repeat,
            due_at=due_at,
            in_time=(due_at - now).total_seconds() <= tell.within,
        )
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
    method: ContactMethod,
    step: Step,
    *,
    place: int,
    due_at: datetime,
    round_: int = 0,
    repeat: int = 0,
    in_time: bool = True,
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
        "in_time": in_time,
    }


def _write_ends(ended: Sequence[Step], *, now: datetime) -> None:
    """Say that a walk is over; where it reached nobody, notify the Owners and App Admins."""
    hopeless = runs_that_reach_nobody(run_id for step in ended if not step.advance.reaches for run_id, _ in step.runs)
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


def _why_nobody(step: Step) -> Reason:
    """Say why the walk reached nobody in person."""
    position = step.advance.position
    if position.told or position.lap:
        return Reason(f"Nobody whom “{step.name}” names was reached: every notification failed, or its reader left.")
    informed = ONLY_INFORMED if step.advance.tells else ""
    return why_nobody(step.name, step.advance.gaps, informed, ONLY_SHARED if step.contacts else "")
