"""Preview who would be notified: play walks out ahead of time, without writing anything."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from accounts.selectors import fallback_recipients, opted_out
from accounts.windows import PRIORITIES
from escalation.engine import walk
from escalation.engine.plan import Plan, Stage
from escalation.engine.recipients import PeopleAhead, PlanDirectory, RecipientDirectory
from escalation.engine.start import Route, plans_of
from escalation.engine.write_step import ONLY_INFORMED, ONLY_SHARED, waiting_says
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.durations import in_words

# Steps of one preview: a policy with many repeats would otherwise take too long for a page.
MAX_STEPS = 50
# People are read for the steps of so long a time at once; most walks are over by then.
READ_AT_ONCE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class _PlayedStep:
    """A step of the walk at its instant, with the directory of that instant."""

    at: datetime
    advance: walk.Advance
    directory: PlanDirectory


@dataclass(frozen=True, slots=True)
class PreviewNotification:
    """One person who is notified over one contact method, at `at`: the step's time and the method's own delay.

    Without a person it is a contact that a group shares. `counts` says that the person is reached by it: they may
    answer, and it comes before the walk's next stage.
    """

    user_id: int | None
    group_id: int | None
    name: str
    stage: str
    retry: int
    label: str
    channel: str
    at: datetime
    counts: bool


@dataclass(frozen=True, slots=True)
class PreviewStep:
    """One step of the walk: who is notified, which stages were skipped, and what waits for a morning."""

    at: datetime
    notifications: Sequence[PreviewNotification]
    skipped_stages: Sequence[str]
    waits_until: datetime | None = None
    waits: str = ""

    @property
    def notes(self) -> list[str]:
        """Return the sentences to show beside the people who are notified."""
        return [*self.skipped_stages, *([self.waits] if self.waits else [])]


@dataclass(frozen=True, slots=True)
class Problem:
    """What would fail: a code for programs, a sentence for people, and the user whom it is about, if any."""

    code: str
    text: str
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class EscalationPreview:
    """What would happen after an alert opened at `at` if nobody did anything.

    `complete` says that the walk was played to its end. `instead` are the people whom the last resort would notify,
    because the walk reaches nobody.
    """

    at: datetime
    name: str
    steps: Sequence[PreviewStep]
    problems: Sequence[Problem]
    complete: bool
    instead: Sequence[User]

    @property
    def first_notified_at(self) -> datetime | None:
        """Return when the first person who counts is notified; None if the walk reaches nobody."""
        notifications = chain.from_iterable(step.notifications for step in self.steps)
        return min((notification.at for notification in notifications if notification.counts), default=None)


def preview_escalation(route: Route, *, at: datetime, max_steps: int = MAX_STEPS) -> EscalationPreview:
    """Return what would happen if an alert opened on this route at that instant; at most `max_steps` steps of it.

    Recipients are those of each step's own instant, as in the engine.
    """
    (plan,) = plans_of([route])
    position = walk.start(plan, at)
    people_until, people_ahead = at, None
    steps: list[_PlayedStep] = []
    # The people whom the walk meant to notify: the stage, and in how many seconds they would first be notified, if
    # ever. Those who turn out to count are taken out at the end; a problem is reported for each of the others.
    uncounted: dict[int, tuple[Stage, float | None]] = {}
    while position.next_at is not None and len(steps) < max_steps:
        now = position.next_at
        if people_ahead is None or now >= people_until:
            people_until = now + READ_AT_ONCE
            people_ahead = PeopleAhead.of([plan], starts_at=now, ends_at=people_until)
        directory = people_ahead.directory_at([plan], now).for_plan(plan)

        def first_use(person: int, stage: Stage, directory: PlanDirectory = directory) -> float | None:
            seconds = None if person in route.opted_out else directory.first_use(person, stage)
            # At night these seconds count from the end of the person's night.
            with_night = None if seconds is None else seconds + directory.night(person, stage)
            uncounted.setdefault(person, (stage, with_night))
            return seconds

        advance = walk.advance(
            plan, position, now=now, people=directory.people, first_use=first_use, night=directory.night
        )
        steps.append(_PlayedStep(now, advance, directory))
        position = advance.position
    pages = list(chain.from_iterable(step.advance.pages for step in steps))
    for person in {page.person for page in pages if page.counts}:
        uncounted.pop(person, None)
    people = User.objects.in_bulk({page.person for page in pages} | uncounted.keys())
    complete = position.next_at is None
    instead: Sequence[User] = []
    if complete and not any(step.advance.reaches for step in steps):
        instead = fallback_recipients([route.organization_id])[route.organization_id]
    return EscalationPreview(
        at=at,
        name=route.name,
        steps=[_preview_step(step, people=people) for step in steps],
        problems=_problems(route, plan, steps, uncounted, people),
        complete=complete,
        instead=instead,
    )


def preview_next_step(run: EscalationRun, *, at: datetime) -> PreviewStep | None:
    """Return the next step of a run under way if nobody does anything; None if no further step follows."""
    plan, position = Plan.load(run.plan), walk.Position.load(run.position)
    if run.next_step_at is None or position.next_at is None:
        return None
    # An overdue step is done late, and one that failed is tried again later.
    step_at = max(run.next_step_at, position.next_at, at)
    integration_id = run.alert.integration_id
    unwilling = opted_out([integration_id]).get(integration_id, frozenset())
    directory = RecipientDirectory.of([plan], now=step_at).for_plan(plan)
    advance = walk.advance(
        plan,
        position,
        now=step_at,
        people=directory.people,
        first_use=directory.first_use_without(unwilling),
        night=directory.night,
    )
    people = User.objects.in_bulk({page.person for page in advance.pages})
    next_step = _preview_step(_PlayedStep(step_at, advance, directory), people=people)
    if position.waits_until == step_at and next_step.waits_until is None:
        waits = f"It waits for the morning (priority {run.alert.get_priority_display()})."
        return replace(next_step, waits_until=step_at, waits=waits)
    return next_step


def why_nobody_is_first(routes: Sequence[Route], *, at: datetime) -> list[str]:
    """Return for each route why its first step would notify nobody; an empty text if it notifies somebody.

    The number of queries does not depend on how many routes there are.
    """
    return FirstSteps(routes, starts_at=at).why_nobody(range(len(routes)), at=at)


class FirstSteps:
    """The first steps of some routes, whenever an alert opens between two instants (one instant without `ends_at`).

    The number of queries depends neither on the number of routes nor on the number of instants.
    """

    def __init__(self, routes: Sequence[Route], *, starts_at: datetime, ends_at: datetime | None = None) -> None:
        self._routes = routes
        self.plans = plans_of(routes)
        self.people = PeopleAhead.of(self.plans, starts_at=starts_at, ends_at=ends_at)

    def why_nobody(self, numbers: Iterable[int], *, at: datetime) -> list[str]:
        """Return what `why_nobody_is_first` returns, for the routes with these indexes."""
        numbers = list(numbers)
        directory = self.people.directory_at([self.plans[number] for number in numbers], at)
        return [
            _why_nobody_is_first(
                self._routes[number], self.plans[number], directory.for_plan(self.plans[number]), at=at
            )
            for number in numbers
        ]


def _why_nobody_is_first(route: Route, plan: Plan, directory: PlanDirectory, *, at: datetime) -> str:
    if reason := _why_unusable(route, plan):
        return reason
    position = walk.start(plan, at)
    # Without `night`, as if it were day: people who are notified in the morning are notified.
    advance = walk.advance(
        plan,
        position,
        now=position.next_at or at,
        people=directory.people,
        first_use=directory.first_use_without(route.opted_out),
    )
    if advance.reaches:
        return ""
    sentences = [str(skipped_stage) for skipped_stage in advance.skipped]
    if advance.pages:
        sentences.append(ONLY_INFORMED)
    if directory.contacts(advance.groups):
        sentences.append(ONLY_SHARED)
    return " ".join(sentences)


def _why_unusable(route: Route, plan: Plan) -> str:
    """Return why the walk cannot begin at all; empty if it can."""
    if route.why_unusable:
        return route.why_unusable
    return "" if plan.tracks else f"“{route.name}” has nobody to notify: name a group or a person."


def _preview_step(step: _PlayedStep, *, people: Mapping[int, User]) -> PreviewStep:
    directory = step.directory
    notifications: list[PreviewNotification] = []
    for page in step.advance.pages:
        for method in directory.methods(page):
            notifications += (
                PreviewNotification(
                    user_id=page.person,
                    group_id=None,
                    name=str(people[page.person]),
                    stage=page.stage,
                    retry=page.retry,
                    label=method.label,
                    channel=method.kind,
                    at=used_at,
                    counts=directory.may_answer(page.person) and (used_at - step.at).total_seconds() <= page.within,
                )
                for used_at in directory.times(page, method)
            )
    notifications += (
        PreviewNotification(
            user_id=None,
            group_id=method.group_id,
            name=str(method.group),
            stage="Shared contacts",
            retry=0,
            label=method.label,
            channel=method.kind,
            at=step.at,
            counts=False,
        )
        for method in directory.contacts(step.advance.groups)
    )
    skipped_stages = [str(skipped_stage) for skipped_stage in step.advance.skipped]
    wait = step.advance.waits
    if wait is None:
        return PreviewStep(step.at, notifications, skipped_stages)
    return PreviewStep(step.at, notifications, skipped_stages, wait.until, waiting_says(wait, directory))


def _problems(
    route: Route,
    plan: Plan,
    steps: Sequence[_PlayedStep],
    uncounted: Mapping[int, tuple[Stage, float | None]],
    people: Mapping[int, User],
) -> list[Problem]:
    if reason := _why_unusable(route, plan):
        code = "refused" if route.why_unusable else "nobody_named"
        return [Problem(code, reason)]
    # A dict, because a repeat of the walk skips the same stages again.
    problems: dict[Problem, None] = {}
    for skipped_stage in chain.from_iterable(step.advance.skipped for step in steps):
        if skipped_stage.begun:
            continue
        if skipped_stage.people:
            problem = Problem("nobody_reachable", f"{skipped_stage.stage}: nobody in it can be reached.")
        else:
            problem = Problem("nobody_there", f"{skipped_stage.stage}: nobody is in it.")
        problems[problem] = None
    reaches = any(step.advance.reaches for step in steps)
    if not reaches and any(step.directory.contacts(step.advance.groups) for step in steps):
        problems[Problem("only_shared_contacts", ONLY_SHARED)] = None
    unused = [person for person, (stage, use) in uncounted.items() if use is None and not stage.centralized]
    too_low = _people_for_higher_priorities(unused, priority=plan.priority)
    for person, (stage, first_use) in uncounted.items():
        if person in too_low and person in people:
            problems[_priority_too_low(people[person], plan.priority)] = None
        elif person in people:
            problems[_why_uncounted(people[person], stage, first_use, route)] = None
    return list(problems)


def _people_for_higher_priorities(people: Collection[int], *, priority: str) -> set[int]:
    """Return those of the people who are active and use every contact method only for higher priorities."""
    if not people:
        return set()
    usable = ContactMethod.objects.filter(
        user__in=people, user__is_active=True, enabled=True, verified_at__isnull=False
    ).values_list("user_id", "from_priority")
    fits = {user_id for user_id, least in usable if user_id and PRIORITIES.index(least) <= PRIORITIES.index(priority)}
    return {user_id for user_id, _ in usable if user_id} - fits


def _priority_too_low(user: User, priority: str) -> Problem:
    text = f"{user} has no contact method that is used for alerts of priority {priority.capitalize()}."
    return Problem("no_method", text, user.pk)


def _why_uncounted(user: User, stage: Stage, first_use: float | None, route: Route) -> Problem:
    """Return why nobody waits for this person: nothing is sent to them, they may not answer, or it comes too late."""
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
    if user.pk in route.opted_out:
        return Problem("opted_out", f"{user} has muted this.", user.pk)
    labels_text = f" named {' or '.join(stage.labels)}" if stage.centralized and stage.labels else ""
    return Problem("no_method", f"{user} has no verified contact method{labels_text} that is in use.", user.pk)
