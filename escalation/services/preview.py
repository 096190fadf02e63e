"""Who would be told: walks played out ahead of time, without writing anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.models import User
from accounts.selectors import opted_out
from escalation import walk
from escalation.models import EscalationRun
from escalation.services.people import Directory, stewards
from escalation.services.runs import Way, plans_of
from escalation.services.steps import ONLY_SHARED

MOST_STEPS = 50
_Step = tuple[datetime, walk.Advance, Directory]


@dataclass(frozen=True, slots=True)
class Told:
    """One person who is told over one contact method, at `at`: the step's time and the method's own delay.

    Or, without a person, one contact that a group shares.
    """

    user_id: int | None
    group_id: int | None
    name: str
    stage: str
    round: int
    label: str
    channel: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of the walk: who is told, and which stages led nowhere."""

    at: datetime
    told: Sequence[Told]
    gaps: Sequence[str]


@dataclass(frozen=True, slots=True)
class Problem:
    """What would fail: a code for programs, a sentence for people, and whom it is about where it is about somebody."""

    code: str
    text: str
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an alert that opens at `at` would bring if nobody did anything.

    `complete` says that the walk is told to its end. `instead` are the people whom the last resort would tell by
    e-mail, because the walk reaches nobody.
    """

    at: datetime
    name: str
    moments: Sequence[Moment]
    problems: Sequence[Problem]
    complete: bool
    instead: Sequence[User]


def foresee(way: Way, *, at: datetime, most_steps: int = MOST_STEPS) -> Forecast:
    """Return what would happen if an alert opened this way at that instant; at most `most_steps` steps of it.

    People are asked for at each step's own instant, as the engine does.
    """
    (plan,) = plans_of([way])
    position = walk.start(plan, at)
    steps: list[_Step] = []
    unreached: dict[int, walk.Stage] = {}
    while position.next_at is not None and len(steps) < most_steps:
        now = position.next_at
        directory = Directory.of([plan], now=now)

        def reachable(person: int, stage: walk.Stage, directory: Directory = directory) -> bool:
            found = person not in way.opted_out and directory.reachable(person, stage)
            if not found:
                unreached.setdefault(person, stage)
            return found

        step = walk.advance(plan, position, now=now, people=directory.people, reachable=reachable)
        steps.append((now, step, directory))
        position = step.position
    told = {tell.person for _, step, _ in steps for tell in step.tells}
    people = User.objects.in_bulk(told | set(unreached))
    complete = position.next_at is None
    return Forecast(
        at=at,
        name=way.name,
        moments=[_moment(*step, people=people) for step in steps],
        problems=_problems(way, plan, steps, unreached, people),
        complete=complete,
        instead=stewards([way.organization_id])[way.organization_id] if complete and not told else [],
    )


def foresee_next(run: EscalationRun, *, at: datetime) -> Moment | None:
    """Return the next step of a run under way as it stands, if nobody does anything; None where no more comes."""
    plan, position = walk.Plan.load(run.plan), walk.Position.load(run.position)
    if run.next_step_at is None or position.next_at is None:
        return None
    # An overdue step is done late, and one that failed is tried again later.
    then = max(run.next_step_at, position.next_at, at)
    integration_id = run.alert.integration_id
    unwilling = opted_out([integration_id]).get(integration_id, frozenset())
    directory = Directory.of([plan], now=then)

    def reachable(person: int, stage: walk.Stage) -> bool:
        return person not in unwilling and directory.reachable(person, stage)

    step = walk.advance(plan, position, now=then, people=directory.people, reachable=reachable)
    return _moment(then, step, directory, people=User.objects.in_bulk({tell.person for tell in step.tells}))


def why_nobody_is_first(ways: Sequence[Way], *, at: datetime) -> list[str]:
    """Return for each way why its first step would tell nobody; an empty text where it tells somebody.

    The number of queries does not depend on how many ways there are.
    """
    plans = plans_of(ways)
    directory = Directory.of(plans, now=at)
    return [_first(way, plan, directory, at=at) for way, plan in zip(ways, plans, strict=True)]


def _first(way: Way, plan: walk.Plan, directory: Directory, *, at: datetime) -> str:
    if reason := _refusal(way, plan):
        return reason
    begun = walk.start(plan, at)
    now = begun.next_at or at

    def reachable(person: int, stage: walk.Stage) -> bool:
        return person not in way.opted_out and directory.reachable(person, stage)

    step = walk.advance(plan, begun, now=now, people=directory.people, reachable=reachable)
    if step.tells:
        return ""
    shared = [ONLY_SHARED] if directory.contacts(step.groups) else []
    return " ".join([*map(str, step.gaps), *shared])


def _refusal(way: Way, plan: walk.Plan) -> str:
    """Say why the walk cannot begin at all."""
    if way.refusal:
        return way.refusal
    return "" if plan.tracks else f"“{way.name}” has nobody to tell: name a group or a user."


def _moment(at: datetime, step: walk.Advance, directory: Directory, *, people: Mapping[int, User]) -> Moment:
    told = [
        Told(
            user_id=tell.person,
            group_id=None,
            name=str(people[tell.person]),
            stage=tell.stage,
            round=tell.round,
            label=method.label,
            channel=method.kind,
            at=used_at,
        )
        for tell in step.tells
        for method in directory.methods(tell)
        for used_at in directory.times(tell, method)
    ]
    shared = [
        Told(
            user_id=None,
            group_id=method.group_id,
            name=str(method.group),
            stage="Shared contacts",
            round=0,
            label=method.label,
            channel=method.kind,
            at=at,
        )
        for method in directory.contacts(step.groups)
    ]
    return Moment(at, [*told, *shared], [str(gap) for gap in step.gaps])


def _problems(
    way: Way,
    plan: walk.Plan,
    steps: Sequence[_Step],
    unreached: Mapping[int, walk.Stage],
    people: Mapping[int, User],
) -> list[Problem]:
    if reason := _refusal(way, plan):
        return [Problem("refused" if way.refusal else "nobody_named", reason)]
    # A repeat of the walk names the same gaps again.
    gaps = dict.fromkeys(
        (gap.stage, "nobody_reachable" if gap.named else "nobody_there")
        for _, step, _ in steps
        for gap in step.gaps
        if not gap.begun
    )
    texts = {"nobody_reachable": "nobody in it can be reached", "nobody_there": "nobody is in it"}
    only_shared = not any(step.tells for _, step, _ in steps) and any(
        directory.contacts(step.groups) for _, step, directory in steps
    )
    return [
        *(Problem(code, f"{stage}: {texts[code]}.") for stage, code in gaps),
        *([Problem("only_shared_contacts", ONLY_SHARED)] if only_shared else []),
        *(_why_unreached(people[person], stage, way) for person, stage in unreached.items() if person in people),
    ]


def _why_unreached(user: User, stage: walk.Stage, way: Way) -> Problem:
    if not user.is_active:
        return Problem("inactive", f"{user} is deactivated.", user.pk)
    if user.pk in way.opted_out:
        return Problem("opted_out", f"{user} does not want to be told about this.", user.pk)
    wanted = f" named {' or '.join(stage.labels)}" if stage.centralized and stage.labels else ""
    return Problem("no_method", f"{user} has no verified contact method{wanted} that is in use.", user.pk)
