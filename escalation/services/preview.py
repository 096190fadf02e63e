"""Who would be told: walks played out ahead of time, without writing anything."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from accounts.models import User
from accounts.selectors import opted_out
from escalation import walk
from escalation.models import EscalationRun
from escalation.services.people import Directory, stewards
from escalation.services.runs import Way, plans_of
from escalation.services.steps import ONLY_INFORMED, ONLY_SHARED
from heartbeat_project.kernel.durations import in_words

MOST_STEPS = 50
_Step = tuple[datetime, walk.Advance, Directory]


@dataclass(frozen=True, slots=True)
class Told:
    """One person who is told over one contact method, at `at`: the step's time and the method's own delay.

    Or, without a person, one contact that a group shares. `counts` says that the person is reached by it: that it comes
    before the walk's next stage, and that they may answer.
    """

    user_id: int | None
    group_id: int | None
    name: str
    stage: str
    round: int
    label: str
    channel: str
    at: datetime
    counts: bool


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

    `complete` says that the walk is told to its end. `instead` are the people whom the last resort would notify,
    because the walk reaches nobody.
    """

    at: datetime
    name: str
    moments: Sequence[Moment]
    problems: Sequence[Problem]
    complete: bool
    instead: Sequence[User]

    @property
    def first_notified_at(self) -> datetime | None:
        """Return when the first person who counts is notified; None where the walk reaches nobody."""
        return min((told.at for moment in self.moments for told in moment.told if told.counts), default=None)


def foresee(way: Way, *, at: datetime, most_steps: int = MOST_STEPS) -> Forecast:
    """Return what would happen if an alert opened this way at that instant; at most `most_steps` steps of it.

    People are asked for at each step's own instant, as the engine does.
    """
    (plan,) = plans_of([way])
    position = walk.start(plan, at)
    steps: list[_Step] = []
    uncounted: dict[int, tuple[walk.Stage, float | None]] = {}
    while position.next_at is not None and len(steps) < most_steps:
        now = position.next_at
        directory = Directory.of([plan], now=now)

        def first_use(person: int, stage: walk.Stage, directory: Directory = directory) -> float | None:
            found = None if person in way.opted_out else directory.first_use(person, stage)
            uncounted.setdefault(person, (stage, found))
            return found

        step = walk.advance(plan, position, now=now, people=directory.people, first_use=first_use)
        steps.append((now, step, directory))
        position = step.position
    notified = {tell.person for _, step, _ in steps for tell in step.tells}
    for person in {tell.person for _, step, _ in steps for tell in step.tells if tell.counts}:
        uncounted.pop(person, None)
    people = User.objects.in_bulk(notified | set(uncounted))
    complete = position.next_at is None
    return Forecast(
        at=at,
        name=way.name,
        moments=[_moment(*step, people=people) for step in steps],
        problems=_problems(way, plan, steps, uncounted, people),
        complete=complete,
        instead=stewards([way.organization_id])[way.organization_id]
        if complete and not any(step.reaches for _, step, _ in steps)
        else [],
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

    def first_use(person: int, stage: walk.Stage) -> float | None:
        return None if person in unwilling else directory.first_use(person, stage)

    step = walk.advance(plan, position, now=then, people=directory.people, first_use=first_use)
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

    def first_use(person: int, stage: walk.Stage) -> float | None:
        return None if person in way.opted_out else directory.first_use(person, stage)

    step = walk.advance(plan, begun, now=now, people=directory.people, first_use=first_use)
    if step.reaches:
        return ""
    informed = [ONLY_INFORMED] if step.tells else []
    shared = [ONLY_SHARED] if directory.contacts(step.groups) else []
    return " ".join([*map(str, step.gaps), *informed, *shared])


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
            counts=directory.may_answer(tell.person) and (used_at - at).total_seconds() <= tell.within,
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
            counts=False,
        )
        for method in directory.contacts(step.groups)
    ]
    return Moment(at, [*told, *shared], [str(gap) for gap in step.gaps])


def _problems(
    way: Way,
    plan: walk.Plan,
    steps: Sequence[_Step],
    uncounted: Mapping[int, tuple[walk.Stage, float | None]],
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
    only_shared = not any(step.reaches for _, step, _ in steps) and any(
        directory.contacts(step.groups) for _, step, directory in steps
    )
    return [
        *(Problem(code, f"{stage}: {texts[code]}.") for stage, code in gaps),
        *([Problem("only_shared_contacts", ONLY_SHARED)] if only_shared else []),
        *(
            _why_uncounted(people[person], stage, first_use, way)
            for person, (stage, first_use) in uncounted.items()
            if person in people
        ),
    ]


def _why_uncounted(user: User, stage: walk.Stage, first_use: float | None, way: Way) -> Problem:
    """Say why nobody waits for this person: nothing is sent to them, they may not answer, or it comes too late."""
    if first_use == math.inf and user.kind == User.Kind.STAKEHOLDER:
        return Problem("cannot_answer", f"{user} is a stakeholder: they are notified, and cannot answer.", user.pk)
    if first_use == math.inf:
        text = f"{user} is notified, and cannot answer: no role of theirs lets them see the alert."
        return Problem("cannot_answer", text, user.pk)
    if first_use is not None:
        text = f"{user} is notified only after {in_words(timedelta(seconds=first_use))}: nobody waits for that."
        return Problem("too_late", text, user.pk)
    if not user.is_active:
        return Problem("inactive", f"{user} is deactivated.", user.pk)
    if user.pk in way.opted_out:
        return Problem("opted_out", f"{user} does not want to be told about this.", user.pk)
    wanted = f" named {' or '.join(stage.labels)}" if stage.centralized and stage.labels else ""
    return Problem("no_method", f"{user} has no verified contact method{wanted} that is in use.", user.pk)
