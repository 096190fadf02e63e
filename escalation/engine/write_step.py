"""What a step of a walk writes: notifications, timeline entries, and who may now see the alert."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from accounts.models.contact_methods import ContactMethod
from alerting.models.alerts import TimelineEntry
from alerting.services.alerts import add_viewers, write_timeline
from escalation.engine import walk
from escalation.engine.last_resort import Reason, notify_fallback_recipients, why_nobody
from escalation.engine.plan import Plan, Target
from escalation.engine.reached import runs_that_reach_nobody
from escalation.engine.recipients import PlanDirectory, RecipientDirectory, Redirect
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.prepared import fetch
from heartbeat_project.kernel.sql import array, records, statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import moment

# Why a walk reaches nobody although it notifies somebody.
ONLY_SHARED = "Only the shared contacts of groups are notified."
ONLY_INFORMED = "Only people who cannot answer, or not in time, are notified."
_Kind = TimelineEntry.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of runs that stand at the same position of the same plan.

    `number` is EscalationRun.step after it, `name` that of the policy or play, `runs` are pairs of a run id and its
    alert id. `contacts` are shared contacts of notified groups, `redirects` the covers who are notified. `asked_for` is
    the sentence that says which person asked for the pages, if one did: such pages are sent even while somebody has the
    alert.
    """

    organization_id: int
    name: str
    number: int
    advance: walk.Advance
    directory: PlanDirectory
    contacts: tuple[ContactMethod, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    asked_for: str = ""
    runs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def next_at(self) -> datetime | None:
        """When the runs go on; None when nothing more comes."""
        return self.advance.position.next_at


def take_step(
    plan: Plan,
    position: walk.Position,
    recipients: RecipientDirectory,
    *,
    organization_id: int,
    name: str,
    steps_done: int,
    opted_out: Collection[int],
    now: datetime,
) -> Step:
    """Return the step that comes after `steps_done` others; the caller saves its runs, then calls `write_steps`.

    Users who have `opted_out` are not notified.
    """
    redirects: dict[Redirect, None] = {}
    directory = recipients.for_plan(plan)

    def people(target: Target) -> Sequence[int]:
        redirects.update(dict.fromkeys(directory.redirects(target)))
        return directory.people(target)

    advance = walk.advance(
        plan,
        position,
        now=now,
        people=people,
        first_use=directory.first_use_without(opted_out),
        night=directory.night,
    )
    contacts = tuple(directory.contacts(advance.groups))
    # A redirect is recorded when its cover is first notified, not with each retry.
    retried = {retry.person for retry in position.retries}
    first_notified = {page.person for page in advance.pages if not page.retry or page.person not in retried}
    notifies = bool(advance.pages or contacts)
    return Step(
        organization_id=organization_id,
        name=name,
        number=steps_done + notifies,
        advance=advance,
        directory=directory,
        contacts=contacts,
        redirects=tuple(redirect for redirect in redirects if redirect.to in first_notified),
    )


def write_steps(steps: Sequence[Step], *, now: datetime) -> None:
    """Write these steps of saved runs, in a number of statements that does not depend on how many there are."""
    write_moments(steps, now=now)
    ended = [step for step in steps if step.next_at is None]
    if ended:
        _write_ends(ended, now=now)


def write_moments(steps: Sequence[Step], *, now: datetime) -> None:
    """Write whom these steps notify, skip and wait for; nothing about a walk that ends with them."""
    notifying = [step for step in steps if step.advance.pages or step.contacts]
    if notifying:
        _write_pages(notifying, now=now)
        viewers: list[tuple[int, int]] = []
        for step in notifying:
            for _, alert_id in step.runs:
                viewers += ((alert_id, page.person) for page in step.advance.pages)
        add_viewers(viewers)
        wake_on_commit("escalation.deliver_due", queue="delivery")
    redirects: list[tuple[int, str]] = []
    waits: list[tuple[int, str]] = []
    skipped_stages: list[tuple[int, str]] = []
    for step in steps:
        wait_text = waiting_says(step.advance.waits, step.directory) if step.advance.waits else ""
        for _, alert_id in step.runs:
            redirects += ((alert_id, str(redirect)) for redirect in step.redirects)
            skipped_stages += ((alert_id, str(skipped_stage)) for skipped_stage in step.advance.skipped)
            if wait_text:
                waits.append((alert_id, wait_text))
    if redirects or waits:
        write_timeline(_Kind.NOTIFIED, redirects + waits, now=now)
    if skipped_stages:
        write_timeline(_Kind.SKIPPED, skipped_stages, now=now)


def waiting_says(wait: walk.Wait, directory: PlanDirectory) -> str:
    """Say in one sentence that a stage waits for a morning, and why."""
    until = moment(wait.until, zone=directory.zone_of(wait.person))
    return f"{wait.stage}: it is night there. Waits until {until} (priority {directory.priority.capitalize()})."


def _write_pages(steps: Sequence[Step], *, now: datetime) -> None:
    """Write a row for each use of each contact method of each person, and for each contact that a group shares.

    Two engines cannot take the same step of a run; a row that is there already was written by this very step before.
    """
    run_ids: list[int] = []
    alert_ids: list[int] = []
    organization_ids: list[int] = []
    # For each run the index of its step: the pages of a step are sent once, and joined to its runs by that.
    numbers: list[int] = []
    pages: list[dict[str, Any]] = []
    for number, step in enumerate(steps):
        run_ids += (run_id for run_id, _ in step.runs)
        alert_ids += (alert_id for _, alert_id in step.runs)
        organization_ids += [step.organization_id] * len(step.runs)
        numbers += [number] * len(step.runs)
        pages += _pages_to_people(step, number=number, now=now)
        pages += (_page(method, step, number=number, due_at=now) for method in step.contacts)
    parameters: dict[str, Any] = {
        "runs": array(run_ids),
        "alerts": array(alert_ids),
        "organizations": array(organization_ids),
        "numbers": array(numbers),
        "pages": records(pages),
        "first": Notification.Urgency.FIRST,
        "further": Notification.Urgency.FURTHER,
        "now": now,
    }
    fetch(statement("escalation", "write_pages"), parameters, length=max(len(run_ids), len(pages)))


def _pages_to_people(step: Step, *, number: int, now: datetime) -> Iterator[dict[str, Any]]:
    for page in step.advance.pages:
        for method in step.directory.methods(page):
            for repeat, due_at in enumerate(step.directory.times(page, method)):
                in_time = method.failing_since is None and (due_at - now).total_seconds() <= page.within
                yield _page(
                    method, step, number=number, retry=page.retry, repeat=repeat, due_at=due_at, in_time=in_time
                )


def _page(
    method: ContactMethod,
    step: Step,
    *,
    number: int,
    due_at: datetime,
    retry: int = 0,
    repeat: int = 0,
    in_time: bool = True,
) -> dict[str, Any]:
    """Return what the pages of one step over this contact method have in common; `number` is the step's index."""
    return {
        "number": number,
        "user_id": method.user_id,
        "group_id": method.group_id,
        "contact_method_id": method.pk,
        "channel": method.kind,
        "label": method.label,
        "address": method.address,
        "step": step.number,
        "retry": retry,
        "repeat": repeat,
        "due_at": due_at,
        "in_time": in_time,
        **({"text": step.asked_for} if step.asked_for else {}),
    }


def _write_ends(ended: Sequence[Step], *, now: datetime) -> None:
    """Record that these walks are over; notify the Owner and App Admins of those that reached nobody."""
    # A run whose last step reaches somebody need not be looked up.
    candidates: list[int] = []
    for step in ended:
        if not step.advance.reaches:
            candidates += (run_id for run_id, _ in step.runs)
    unreached = runs_that_reach_nobody(candidates)
    lines: list[tuple[int, str]] = []
    reasons: dict[int, Reason] = {}
    for step in ended:
        lines += (
            (alert_id, f"No further step follows in “{step.name}”.")
            for run_id, alert_id in step.runs
            if run_id not in unreached
        )
        reasons.update((run_id, _why_nobody(step)) for run_id, _ in step.runs if run_id in unreached)
    if lines:
        write_timeline(_Kind.ESCALATION_ENDED, lines, now=now)
    if unreached:
        runs = EscalationRun.objects.select_related("alert").filter(pk__in=unreached).order_by("id")
        notify_fallback_recipients({run: reasons[run.pk] for run in runs}, now=now)


def _why_nobody(step: Step) -> Reason:
    """Return why the walk reached nobody in person."""
    position = step.advance.position
    if position.notified or position.repeat:
        return Reason(f"Nobody whom “{step.name}” names was reached: every notification failed, or its reader left.")
    only_informed = ONLY_INFORMED if step.advance.pages else ""
    only_shared = ONLY_SHARED if step.contacts else ""
    return why_nobody(step.name, step.advance.skipped, only_informed, only_shared)
