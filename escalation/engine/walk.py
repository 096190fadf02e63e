"""The walk of an escalation (pure): compute from a plan and a position who is notified now, and when the walk goes on.

A plan is a set of tracks that run beside each other, one for each recipient group; a track is a sequence of stages. The
plan is a snapshot of ids and times. The people behind the ids are looked up whenever somebody is to be notified, so
that a turn or a retry goes to the people who are there then. Every wait counts from the moment at which the walk really
did the step before it, so that a late worker never pages two roles together.

To be notified is not the same as to count as reached: only people whose message is used in time, and who may answer it
then, keep the walk waiting. If a stage notifies only other people, the walk goes on as if nobody were in it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Self

from escalation.engine.plan import Plan, Stage, Target, Track

# The users for whom a target stands now, by id and in order.
People = Callable[["Target"], Sequence[int]]
# Seconds until the first message by which a person counts as reached; infinite for people who are notified and do not
# count (they may not answer, or every method of theirs fails); None for people to whom nothing is sent.
FirstUse = Callable[[int, "Stage"], float | None]
# Seconds until the end of the night in which nothing is sent to a person; 0 by day, and if nothing waits at night.
# `FirstUse` counts from there.
Night = Callable[[int, "Stage"], float]


@dataclass(frozen=True, slots=True)
class TrackCursor:
    """Where a track is: how many stages it entered, and when it goes on (None: it has ended).

    `in_turn` says that it goes on with a further turn of the stage entered last, not with the next stage.
    """

    entered: int = 0
    due_at: datetime | None = None
    in_turn: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The `number`th retry for one person, who was first notified in this stage of this track."""

    at: datetime
    person: int
    track: int
    stage: int
    number: int


@dataclass(frozen=True, slots=True)
class Position:
    """What was done and what comes next.

    `notified` says whether this repeat, the `repeat`th, reached anybody who counts. `reached` are (track, stage,
    person) of the people who were notified in stages with turns or retries: nobody gets a second turn, or the retries
    of somebody else. `stopped` says that a person ended the walk before its last stage. `waits_until` is the last
    morning for which a stage waited.
    """

    cursors: tuple[TrackCursor, ...] = ()
    retries: tuple[Retry, ...] = ()
    repeat: int = 0
    notified: bool = False
    reached: tuple[tuple[int, int, int], ...] = ()
    stopped: bool = False
    waits_until: datetime | None = None

    @property
    def next_at(self) -> datetime | None:
        """Return when the walk goes on; None if it has ended."""
        times = [cursor.due_at for cursor in self.cursors if cursor.due_at] + [retry.at for retry in self.retries]
        return min(times, default=None)

    def dump(self) -> dict[str, Any]:
        """Return the position as JSON can hold it."""
        return {
            "cursors": [
                [cursor.entered, cursor.due_at and cursor.due_at.isoformat(), cursor.in_turn] for cursor in self.cursors
            ],
            "retries": [
                [retry.at.isoformat(), retry.person, retry.track, retry.stage, retry.number] for retry in self.retries
            ],
            "repeat": self.repeat,
            "notified": self.notified,
            "reached": [list(entry) for entry in self.reached],
            **({"stopped": True} if self.stopped else {}),
            **({"waits_until": self.waits_until.isoformat()} if self.waits_until else {}),
        }

    @classmethod
    def load(cls, data: dict[str, Any]) -> Self:
        """Return the position from what `dump` returned.

        Older dumps have no `reached`: then everybody who has a retry counts as notified, and nobody as having had a
        turn.
        """
        retries = tuple(
            Retry(datetime.fromisoformat(at), person, track, stage, number)
            for at, person, track, stage, number in data["retries"]
        )
        if "reached" in data:
            reached = tuple((track, stage, person) for track, stage, person in data["reached"])
        else:
            reached = tuple(dict.fromkeys((retry.track, retry.stage, retry.person) for retry in retries))
        waits_until = datetime.fromisoformat(data["waits_until"]) if "waits_until" in data else None
        return cls(
            cursors=tuple(
                TrackCursor(entered, due_at and datetime.fromisoformat(due_at), bool(in_turn))
                for entered, due_at, in_turn in data["cursors"]
            ),
            retries=retries,
            repeat=data["repeat"],
            notified=data["notified"],
            reached=reached,
            stopped=data.get("stopped", False),
            waits_until=waits_until,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """One person who is notified now; `retry` counts the retries, 0 is the first time.

    A message to them is in time for `within` seconds from now: then the walk goes on. `counts` says that their first
    message is in time, and that they may answer it.
    """

    person: int
    stage: str
    retry: int = 0
    labels: tuple[str, ...] = ()
    centralized: bool = False
    within: float = math.inf
    counts: bool = True

    def merged(self, other: "Page") -> "Page":
        """Return one page for a person whom two stages notify at once, over the contact methods of both."""
        labels = tuple(dict.fromkeys((*self.labels, *other.labels))) if self.labels and other.labels else ()
        return replace(
            self,
            labels=labels,
            retry=min(self.retry, other.retry),
            within=max(self.within, other.within),
            counts=self.counts or other.counts,
        )


_FOLLOWS: Final = {
    "": ", and no further step follows.",
    "repeat": ". The escalation is repeated.",
    "others": ". The escalation goes on with its other steps.",
}


@dataclass(frozen=True, slots=True)
class SkippedStage:
    """A stage that reached nobody; `people` people are in it, `then` is the stage that comes at once instead.

    `begun` says that it had notified somebody before, and has nobody for a further turn or for a retry. `follows` says
    what comes later if no stage comes at once: a repeat, or what else is left of the walk; empty if nothing does.
    """

    stage: str
    people: int
    then: str | None
    begun: bool = False
    follows: Literal["", "repeat", "others"] = ""

    def __str__(self) -> str:
        """Say in one sentence what was skipped, and what comes instead."""
        nobody = "nobody else" if self.begun else "nobody"
        sentence = f"{self.stage}: {nobody} {'can be reached' if self.people else 'is there'}"
        if self.then:
            return f"{sentence}. Going on to {self.then} at once."
        return f"{sentence}{_FOLLOWS[self.follows]}"


@dataclass(frozen=True, slots=True)
class Wait:
    """A stage, or turn, that waits for this person's morning, because it is night for everybody who would count."""

    until: datetime
    person: int
    stage: str


@dataclass(frozen=True, slots=True)
class Advance:
    """What is done at one moment: who is notified, which stages are skipped, and the position after it.

    `groups` are the groups whose shared contacts are notified beside the people. These reach nobody in person, so a
    stage that has only them is skipped all the same. `waits` is the first wait for a morning that begins now.
    """

    pages: tuple[Page, ...]
    skipped: tuple[SkippedStage, ...]
    position: Position
    groups: tuple[int, ...] = ()
    waits: Wait | None = None

    @property
    def reaches(self) -> bool:
        """Return whether somebody is notified who counts as reached."""
        return any(page.counts for page in self.pages)


@dataclass(frozen=True, slots=True)
class Coming:
    """What the walk does next in one track, in words for people: `label` is notified at `at`."""

    at: datetime
    label: str


@dataclass(frozen=True, slots=True)
class InCharge:
    """A person for whom a stage that the walk has left stands now: how they would be notified, and by which target."""

    page: Page
    target: Target


# Seconds. If a retry comes so soon, a newcomer to its stage is notified by that, and not by a hand-off.
RETRY_SOON: Final = 60.0


def start(plan: Plan, now: datetime) -> Position:
    """Return the position of a walk that starts now."""
    return Position(cursors=tuple(_first_cursors(plan, now, shift=0)))


def by_day(person: int, stage: Stage) -> float:  # noqa: ARG001 - it answers as a `Night`
    """Return that it is day, for everybody."""
    return 0.0


def advance(
    plan: Plan, position: Position, *, now: datetime, people: People, first_use: FirstUse, night: Night = by_day
) -> Advance:
    """Do everything that is due by `now`, as one step in which nobody is notified twice.

    `people` returns the users for whom a target stands, `first_use` when a person counts as reached in a stage. A stage
    in which nobody counts before the walk goes on is passed over at once; if its track ends with that, the next track
    comes at once. People of such a stage to whom something can be sent are notified all the same, once. If only the
    night keeps people of a stage from counting, the stage waits for the first of their mornings.
    """
    walker = _Walker(plan, position, now, people, first_use, night)
    walker.walk()
    after = walker.position()
    waits = walker.waits if walker.waits and after.waits_until != position.waits_until else None
    return Advance(
        pages=tuple(walker.pages.values()),
        skipped=tuple(walker.what_follows(after)),
        position=after,
        groups=tuple(walker.groups),
        waits=waits,
    )


def expedite(position: Position, now: datetime) -> Position:
    """Return the position with the next stage, or member in turn, due now; retries keep their times."""
    earliest = min((cursor.due_at for cursor in position.cursors if cursor.due_at), default=None)
    if earliest is None or earliest <= now:
        return position
    cursors = tuple(replace(cursor, due_at=now) if cursor.due_at == earliest else cursor for cursor in position.cursors)
    return replace(position, cursors=cursors)


def moved_back(position: Position, by: timedelta) -> Position:
    """Return the position with all its times earlier by so much, because the clock was set back.

    The time for which a stage waits stays as it is: it is a morning by the right clock.
    """

    def move(at: datetime) -> datetime:
        return at if at == position.waits_until else at - by

    cursors = tuple(replace(cursor, due_at=cursor.due_at and move(cursor.due_at)) for cursor in position.cursors)
    retries = tuple(replace(retry, at=move(retry.at)) for retry in position.retries)
    return replace(position, cursors=cursors, retries=retries)


def answered(position: Position, person: int) -> Position:
    """Return the position without the retries for a person who answered; later stages may still notify them."""
    return replace(position, retries=tuple(retry for retry in position.retries if retry.person != person))


def reaches_somebody(plan: Plan, position: Position, *, now: datetime, people: People, first_use: FirstUse) -> bool:
    """Return whether what is left of the walk reaches somebody, as things are now."""
    while position.next_at is not None:
        now = max(now, position.next_at)
        step = advance(plan, position, now=now, people=people, first_use=first_use)
        if step.reaches:
            return True
        position = step.position
    return False


def coming(plan: Plan, position: Position) -> Coming | None:
    """Return the next stage, or member in turn, to which the walk comes; None if at most retries are left.

    After these, there may be a repeat: see `coming_repeat`.
    """
    due = [(cursor.due_at, track, cursor) for track, cursor in enumerate(position.cursors) if cursor.due_at]
    if not due:
        return None
    at, track, cursor = min(due, key=lambda entry: entry[:2])
    stages = plan.tracks[track].stages
    if cursor.in_turn:
        return Coming(at, f"the next {stages[cursor.entered - 1].label}")
    return Coming(at, stages[cursor.entered].label)


def coming_repeat(plan: Plan, position: Position) -> Coming | None:
    """Return the first stage of the repeat that follows the retries that are left; None if anything else is left.

    It comes then if the same people are there until the last retry.
    """
    is_over = not position.retries or any(cursor.due_at for cursor in position.cursors)
    if is_over or not position.notified or position.repeat >= plan.repeats:
        return None
    ends = []
    for retry in position.retries:
        stage = plan.tracks[retry.track].stages[retry.stage]
        last_at = retry.at + timedelta(seconds=(stage.retries - retry.number) * stage.retry_gap)
        ends.append((last_at, _wait_of_one(plan, retry.track, retry.stage)))
    end = max(last_at for last_at, _ in ends)
    wait = max(wait for last_at, wait in ends if last_at == end)
    first_stages = [track.stages[0] for track in plan.tracks if track.stages]
    first_stage = min(first_stages, key=lambda stage: stage.wait)
    return Coming(end + timedelta(seconds=max(_wait_of_a_repeat(plan), wait)), first_stage.label)


def coming_or_repeat(plan: Plan, position: Position) -> Coming | None:
    """Return what the walk does next besides retries; None if it only retries, or has ended."""
    return coming(plan, position) or coming_repeat(plan, position)


def repeat_now(plan: Plan, position: Position, now: datetime) -> Position:
    """Return the position in which the next repeat begins now, instead of the retries that are left."""
    cursors = tuple(_first_cursors(plan, now, shift=-_first_wait(plan)))
    return replace(position, cursors=cursors, retries=(), repeat=position.repeat + 1, notified=False, reached=())


def add_tracks(plan: Plan, position: Position, tracks: Sequence[Track], begun: Position) -> tuple[Plan, Position]:
    """Return the plan and the position with further tracks, which stand where `begun` says.

    `begun` is the position of a plan of these tracks alone. What the walk was about to do stays as it is, and a walk
    that had ended is not repeated because more people were added to it.
    """
    offset = len(plan.tracks)
    joined = replace(
        position,
        cursors=position.cursors + begun.cursors,
        retries=position.retries + tuple(replace(retry, track=retry.track + offset) for retry in begun.retries),
        repeat=position.repeat if position.next_at else max(position.repeat, plan.repeats),
        notified=position.notified or begun.notified,
        reached=position.reached + tuple((offset + track, stage, person) for track, stage, person in begun.reached),
    )
    return replace(plan, tracks=(*plan.tracks, *tracks)), joined


def in_charge(
    plan: Plan, position: Position, *, now: datetime, people: People, first_use: FirstUse
) -> dict[int, InCharge]:
    """Return, by id, the people in stages that the walk has entered and left who would count if notified now.

    A stage in which turns are still to come is left out, and so is one with a retry within a minute for a person who
    has left it: there the walk itself notifies the people who are in it by then.
    """
    in_charge_by_person: dict[int, InCharge] = {}
    for track, cursor in enumerate(position.cursors):
        stages = plan.tracks[track].stages[: cursor.entered - cursor.in_turn]
        for number, stage in enumerate(stages):
            members = {
                person: target
                for target in reversed(stage.targets)
                for person in people(target)
                if (use := first_use(person, stage)) is not None and use < math.inf
            }
            if any(
                (retry.track, retry.stage) == (track, number)
                and retry.person not in members
                and retry.at <= now + timedelta(seconds=RETRY_SOON)
                for retry in position.retries
            ):
                continue
            for person, target in members.items():
                page = Page(person, stage.label, 0, stage.labels, stage.centralized)
                in_charge_by_person.setdefault(person, InCharge(page, target))
    return in_charge_by_person


def _groups_notified(stage: Stage, *, first: bool) -> Iterator[int]:
    """Return the groups whose shared contacts are notified with a stage; `first` says that it is its track's first.

    The contacts of a group that is walked role by role are notified with the first role only; those of a group that is
    notified as a whole, with each of its stages.
    """
    return (target.id for target in stage.targets if target.kind == "group" and (first or target.role is None))


def _first_cursors(plan: Plan, now: datetime, *, shift: float) -> Iterator[TrackCursor]:
    """Return the cursors of a walk, or of a repeat, whose first stages come `shift` seconds later than they would."""
    for track in plan.tracks:
        due_at = now + timedelta(seconds=track.stages[0].wait + shift) if track.stages else None
        yield TrackCursor(due_at=due_at)


def _wait_of_a_repeat(plan: Plan) -> float:
    """Return after how many seconds the first stage of a repeat comes."""
    return max(plan.repeat_wait, _first_wait(plan))


def _first_wait(plan: Plan) -> float:
    """Return after how many seconds the first stage of a walk comes."""
    return min((track.stages[0].wait for track in plan.tracks if track.stages), default=0.0)


def _wait_of_one(plan: Plan, track: int, number: int) -> float:
    """Return how many seconds people of a stage have before the next in turn, a retry or another track.

    The wait before another track is that between the first stage of this track and the track before it.
    """
    stage = plan.tracks[track].stages[number]
    waits = [other_track.stages[0].wait for other_track in plan.tracks if other_track.stages]
    earlier_waits = [wait for wait in waits if number == 0 and wait < stage.wait]
    next_track = stage.wait - max(earlier_waits) if earlier_waits else 0.0
    retry_gap = stage.retry_gap if stage.retries else 0.0
    return max(stage.between, retry_gap, next_track)


@dataclass
class _Walker:
    """The state of one `advance`, from the position `begun`; see there for the other fields."""

    plan: Plan
    begun: Position
    now: datetime
    people: People
    first_use: FirstUse
    night: Night
    pages: dict[int, Page] = field(default_factory=dict)
    skipped: list[SkippedStage] = field(default_factory=list)
    groups: dict[int, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cursors = list(self.begun.cursors)
        self.retries = list(self.begun.retries)
        self.repeat = self.begun.repeat
        self.notified = self.begun.notified
        self.reached = dict.fromkeys(self.begun.reached)
        # How many of `skipped` belong to repeats that ended in this step.
        self.earlier_skipped = 0
        self.waits: Wait | None = None
        # Seconds that the people who are notified in this step have before a repeat begins.
        self.wait_of_the_last = 0.0

    def position(self) -> Position:
        waits_until = self.waits.until if self.waits else self.begun.waits_until
        return Position(
            tuple(self.cursors),
            tuple(self.retries),
            self.repeat,
            self.notified,
            tuple(self.reached),
            waits_until=waits_until,
        )

    def what_follows(self, after: Position) -> Iterator[SkippedStage]:
        """Yield the stages that this step skipped, each with what comes after it in the position `after`."""
        for index, skipped_stage in enumerate(self.skipped):
            if index < self.earlier_skipped:
                yield replace(skipped_stage, follows="repeat")
            elif after.next_at is not None:
                yield replace(skipped_stage, follows="others")
            else:
                yield skipped_stage

    def walk(self) -> None:
        """Go on until nothing is due any more.

        The loop ends: stages, members and retries are finite, and a further repeat begins only after one that notified
        somebody whom this step had not notified yet.
        """
        while self.is_due() or self.begin_another_track() or self.begin_repeat():
            for track in range(len(self.cursors)):
                self.follow_track(track)
            self.make_retries()

    def is_due(self) -> bool:
        next_at = self.position().next_at
        return next_at is not None and next_at <= self.now

    def begin_another_track(self) -> bool:
        """Let the next track begin now if this step only skipped stages; answer whether one did."""
        if any(page.counts for page in self.pages.values()) or len(self.skipped) == self.earlier_skipped:
            return False
        not_begun = [
            (cursor.due_at, track)
            for track, cursor in enumerate(self.cursors)
            if cursor.due_at and not cursor.entered and self.morning(track, 0) is None
        ]
        if not not_begun:
            return False
        _, track = min(not_begun)
        label = self.plan.tracks[track].stages[0].label
        self.cursors[track] = TrackCursor(due_at=self.now)
        self.skipped[self.earlier_skipped :] = [
            replace(skipped_stage, then=skipped_stage.then or label)
            for skipped_stage in self.skipped[self.earlier_skipped :]
        ]
        return True

    def begin_repeat(self) -> bool:
        """Begin the next repeat if this one has ended and reached somebody; answer whether it did."""
        if self.retries or any(cursor.due_at for cursor in self.cursors):
            return False
        if not self.notified or self.repeat >= self.plan.repeats:
            return False
        self.repeat += 1
        self.notified = False
        self.reached.clear()
        self.earlier_skipped = len(self.skipped)
        # The first stage of the repeat comes after the wait of a repeat, the other tracks as much later as usual.
        shift = max(_wait_of_a_repeat(self.plan), self.wait_of_the_last) - _first_wait(self.plan)
        self.cursors = list(_first_cursors(self.plan, self.now, shift=shift))
        return True

    def follow_track(self, track: int) -> None:
        """Do the turns and stages of the track that are due."""
        while (due_at := self.cursors[track].due_at) is not None and due_at <= self.now:
            if self.cursors[track].in_turn:
                self.call_next(track)
            else:
                self.enter(track)

    def enter(self, track: int) -> None:
        """Enter the track's next stage: notify its people, or the first of them, or pass over the stage."""
        number = self.cursors[track].entered
        stage = self.plan.tracks[track].stages[number]
        if self.waits_for_morning(track, number):
            return
        self.groups.update(dict.fromkeys(_groups_notified(stage, first=number == 0)))
        people, usable = self.people_of(stage)
        if stage.between > 0 and usable:
            self.call(usable, track=track, number=number)
            return
        within = self.time_after(track, number)
        if any(first_use <= within for first_use in usable.values()):
            for person, first_use in usable.items():
                self.page(person, first_use, within=within, track=track, number=number)
            self.leave(track, number + 1)
        else:
            for person in usable:
                self.inform(person, track=track, number=number)
            self.pass_over(track, number, people=len(people))

    def people_of(self, stage: Stage) -> tuple[Sequence[int], dict[int, float]]:
        """Return the people of a stage now, and for those who can be notified in how many seconds they are reached."""
        people = tuple(dict.fromkeys(person for target in stage.targets for person in self.people(target)))
        uses = ((person, self.first_use(person, stage)) for person in people)
        return people, {
            person: first_use + self.night(person, stage) for person, first_use in uses if first_use is not None
        }

    def morning(self, track: int, number: int) -> Wait | None:
        """Return the morning for which a stage, or its next turn, waits; None if it does not wait.

        It waits if nobody counts now, and somebody will in the morning.
        """
        if self.plan.low_waits_until is None:
            return None
        stage = self.plan.tracks[track].stages[number]
        _, usable = self.people_of(stage)
        candidates = list(usable)
        if stage.between > 0:
            candidates = self.not_reached(usable, track=track, number=number)
        mornings = []
        for index, person in enumerate(candidates, start=1):
            in_turn = stage.between > 0 and index < len(candidates)
            within = stage.between if in_turn else self.time_after(track, number)
            night = self.night(person, stage)
            if (self.first_use(person, stage) or 0.0) <= within:
                if not night:
                    return None
                mornings.append((night, person))
        if not mornings:
            return None
        night, person = min(mornings)
        return Wait(self.now + timedelta(seconds=night), person, stage.label)

    def waits_for_morning(self, track: int, number: int) -> bool:
        """Put a stage, or its next turn, off until the morning if it has to wait; answer whether it has."""
        wait = self.morning(track, number)
        if wait is None:
            return False
        self.cursors[track] = replace(self.cursors[track], due_at=wait.until)
        self.waits = min(self.waits or wait, wait, key=lambda candidate: candidate.until)
        return True

    def time_after(self, track: int, number: int) -> float:
        """Return how many seconds there are from a stage until the walk goes on after it.

        It goes on with the track's next stage; after the last one, with what else comes last in the walk: a retry of
        its own, a stage of another track, a repeat of the whole.
        """
        following = self.following(track, number + 1)
        if following is not None:
            return following.wait
        stage = self.plan.tracks[track].stages[number]
        others = [cursor.due_at for other, cursor in enumerate(self.cursors) if other != track and cursor.due_at]
        ends = [(due_at - self.now).total_seconds() for due_at in others]
        if self.repeat < self.plan.repeats:
            ends.append(max(_wait_of_a_repeat(self.plan), _wait_of_one(self.plan, track, number)))
        return max(stage.retries * stage.retry_gap, *ends, 0.0)

    def pass_over(self, track: int, number: int, *, people: int, begun: bool = False) -> None:
        """Record that a stage reaches nobody, and let the track's next stage come at once."""
        following = self.following(track, number + 1)
        label = self.plan.tracks[track].stages[number].label
        next_label, next_at = (following.label, self.now) if following else (None, None)
        skipped_stage = SkippedStage(label, people, next_label, begun=begun)
        self.cursors[track] = TrackCursor(number + 1, next_at)
        # Several retries of one stage may find nobody in the same step.
        if not begun or skipped_stage not in self.skipped:
            self.skipped.append(skipped_stage)

    def call_next(self, track: int) -> None:
        """Notify the next of the people who are in the stage now and had no turn; if none is left, pass it over."""
        number = self.cursors[track].entered - 1
        if self.waits_for_morning(track, number):
            return
        people, usable = self.people_of(self.plan.tracks[track].stages[number])
        remaining = self.not_reached(usable, track=track, number=number)
        if remaining:
            self.call({person: usable[person] for person in remaining}, track=track, number=number)
        else:
            self.pass_over(track, number, people=len(people), begun=True)

    def call(self, remaining: Mapping[int, float], *, track: int, number: int) -> None:
        """Notify the next person of a stage in turn, and set when the one after them, or the next stage, comes.

        `remaining` are the people who had no turn yet, with the seconds until they count as reached. The walk does not
        wait for a person who does not count before the next turn: then that turn is now.
        """
        stage = self.plan.tracks[track].stages[number]
        begun = any(reached[:2] == (track, number) for reached in self.reached)
        for index, (person, first_use) in enumerate(remaining.items(), start=1):
            is_last = index == len(remaining)
            within = self.time_after(track, number) if is_last else stage.between
            if first_use <= within:
                self.page(person, first_use, within=within, track=track, number=number)
                if is_last:
                    self.leave(track, number + 1)
                else:
                    self.cursors[track] = TrackCursor(number + 1, self.now + timedelta(seconds=within), in_turn=True)
                return
            self.inform(person, track=track, number=number)
        self.pass_over(track, number, people=len(remaining), begun=begun)

    def leave(self, track: int, entered: int) -> None:
        """Set when the track's next stage comes: its wait counts from now, the last first notification."""
        following = self.following(track, entered)
        due_at = self.now + timedelta(seconds=following.wait) if following else None
        self.cursors[track] = TrackCursor(entered, due_at)

    def following(self, track: int, entered: int) -> Stage | None:
        """Return the stage that comes after the first `entered` stages of the track."""
        stages = self.plan.tracks[track].stages
        return stages[entered] if entered < len(stages) else None

    def make_retries(self) -> None:
        due = sorted(
            (retry for retry in self.retries if retry.at <= self.now),
            key=lambda retry: (retry.at, retry.track, retry.number),
        )
        self.retries = [retry for retry in self.retries if retry.at > self.now]
        for retry in due:
            self.make_retry(retry)

    def make_retry(self, retry: Retry) -> None:
        """Notify the person again, or the people who are in the stage instead of them by now."""
        track, number = retry.track, retry.stage
        stage, cursor = self.plan.tracks[track].stages[number], self.cursors[track]
        is_newest = cursor.entered == number + 1  # no later stage of the track has come
        people, usable = self.people_of(stage)
        newcomers = self.not_reached(usable, track=track, number=number)
        # People who cannot answer are notified once, and not again.
        able = {person for person, first_use in usable.items() if first_use < math.inf}
        candidates = [retry.person] if retry.person in able else newcomers
        nights = [self.night(person, stage) for person in candidates]
        if nights and min(nights) > 0:
            self.retries.append(replace(retry, at=self.now + timedelta(seconds=min(nights))))
            return
        within = self.time_left(track, number, retry=retry.number)
        if retry.person in able:
            self.page(retry.person, usable[retry.person], within=within, track=track, number=number, retry=retry.number)
        elif is_newest and cursor.in_turn:
            # The person whose turn comes next is notified instead, now.
            self.cursors[track] = replace(cursor, due_at=self.now)
            if not able:
                self.retry_after(retry.person, track=track, number=number, retry=retry.number)
            return
        elif newcomers:
            for person in newcomers:
                self.page(person, usable[person], within=within, track=track, number=number, retry=retry.number)
        else:
            # The person may be back by the next retry, or somebody else may be there.
            self.retry_after(retry.person, track=track, number=number, retry=retry.number)
        goes_on = self.following(track, number + 1) is not None
        if not able and is_newest and (goes_on or retry.number == stage.retries):
            self.pass_over(track, number, people=len(people), begun=True)

    def time_left(self, track: int, number: int, *, retry: int) -> float:
        """Return how many seconds there are from a retry of a stage until the walk goes on after the stage."""
        stage, due_at = self.plan.tracks[track].stages[number], self.cursors[track].due_at
        if due_at is not None:
            return max((due_at - self.now).total_seconds(), 0.0)
        return max(self.time_after(track, number) - retry * stage.retry_gap, 0.0)

    def not_reached(self, people: Iterable[int], *, track: int, number: int) -> list[int]:
        """Return those of the people who were not notified in the stage yet."""
        return [person for person in people if (track, number, person) not in self.reached]

    def retry_after(self, person: int, *, track: int, number: int, retry: int) -> None:
        """Plan the next retry for the person after this one, if the stage has one."""
        stage = self.plan.tracks[track].stages[number]
        if retry < stage.retries:
            # A page that is written at night is sent in the morning: the gap counts from there.
            after = timedelta(seconds=stage.retry_gap + self.night(person, stage))
            self.retries.append(Retry(self.now + after, person, track, number, retry + 1))

    def page(self, person: int, first_use: float, *, within: float, track: int, number: int, retry: int = 0) -> None:
        """Notify a person of a stage that is not passed over; they get its retries if they may answer."""
        stage = self.plan.tracks[track].stages[number]
        if first_use <= within:
            self.wait_of_the_last = max(self.wait_of_the_last, _wait_of_one(self.plan, track, number))
        if first_use < math.inf:
            self.retry_after(person, track=track, number=number, retry=retry)
        if stage.retries or stage.between:
            self.reached[track, number, person] = None
        self.add(Page(person, stage.label, retry, stage.labels, stage.centralized, within, counts=first_use <= within))

    def inform(self, person: int, *, track: int, number: int) -> None:
        """Notify a person for whom the walk does not wait: once, without retries."""
        stage = self.plan.tracks[track].stages[number]
        if stage.retries or stage.between:
            self.reached[track, number, person] = None
        self.add(Page(person, stage.label, 0, stage.labels, stage.centralized, 0.0, counts=False))

    def add(self, page: Page) -> None:
        """Add a page, merged with the page that the person gets in this step already."""
        earlier_page = self.pages.get(page.person)
        merged = earlier_page.merged(page) if earlier_page else page
        self.pages[page.person] = merged
        if merged.counts and not (earlier_page and earlier_page.counts):
            self.notified = True
