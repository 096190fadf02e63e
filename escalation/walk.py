"""The walk of an escalation (pure): from a plan and a position to who is told now, and when it goes on.

A plan is a set of tracks that run beside each other, one for each recipient group; a track is a sequence of stages. The
plan is a snapshot of ids and times; who they stand for is asked whenever somebody is to be told, so that a turn or a
retry goes to whoever is there then. Every wait counts from the moment at which the walk really did what comes before
it, so that a late worker never pages two roles together.

Being notified is not the same as counting as reached: only people whose message is used in time, and who may answer it
then, keep the walk waiting. Where a stage notifies only others, the walk goes on as if nobody were there.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

People = Callable[["Target"], Sequence[int]]
# Seconds until the first message by which a person counts as reached; infinite for people who are notified and do not
# count (they may not answer, or every method of theirs fails); None for people to whom nothing is sent.
FirstUse = Callable[[int, "Stage"], float | None]


@dataclass(frozen=True, slots=True)
class Target:
    """One user, or the members of one group: those with a group role, or with None all of them."""

    kind: str
    id: int
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """Some people who are told together or in turn. All times are in seconds.

    `wait` counts from the last member's first notification of the stage before, in a track's first stage from the
    start. `between` 0 tells everybody at once, above 0 one after another. Each is told again `retries` times,
    `retry_gap` apart. `labels` names the contact methods of a `centralized` stage, none meaning every method.
    """

    label: str
    targets: tuple[Target, ...]
    wait: float = 0
    between: float = 0
    retries: int = 0
    retry_gap: float = 0
    labels: tuple[str, ...] = ()
    centralized: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """Stages, one after the other."""

    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Tracks side by side; the whole is repeated `repeats` times, at least `repeat_wait` seconds after its end."""

    tracks: tuple[Track, ...] = ()
    repeats: int = 0
    repeat_wait: float = 0

    def dump(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        return asdict(self)

    @classmethod
    def load(cls, data: dict[str, Any]) -> Self:
        """Return the plan that `dump` gave."""
        tracks = tuple(
            Track(
                tuple(
                    Stage(
                        **stage
                        | {
                            "targets": tuple(Target(**target) for target in stage["targets"]),
                            "labels": tuple(stage["labels"]),
                        },
                    )
                    for stage in track["stages"]
                ),
            )
            for track in data["tracks"]
        )
        return cls(tracks=tracks, repeats=data["repeats"], repeat_wait=data["repeat_wait"])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a track is: how many stages it entered, and when it goes on, with a further turn or with the next stage."""

    entered: int = 0
    due_at: datetime | None = None
    in_turn: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """One person who is to be told again."""

    at: datetime
    person: int
    track: int
    stage: int
    round: int


@dataclass(frozen=True, slots=True)
class Position:
    """What was done and what comes. `told` says whether this lap, the `lap`th repetition, reached anybody who counts.

    `reached` are (track, stage, person) of those who were told in stages with turns or retries: nobody gets a second
    turn, or the retries of somebody else.
    """

    places: tuple[Place, ...] = ()
    retries: tuple[Retry, ...] = ()
    lap: int = 0
    told: bool = False
    reached: tuple[tuple[int, int, int], ...] = ()

    @property
    def next_at(self) -> datetime | None:
        """When the walk goes on; None when it has ended."""
        times = [place.due_at for place in self.places if place.due_at] + [retry.at for retry in self.retries]
        return min(times, default=None)

    def dump(self) -> dict[str, Any]:
        """Return the position as JSON can hold it."""
        return {
            "places": [[p.entered, p.due_at and p.due_at.isoformat(), p.in_turn] for p in self.places],
            "retries": [[r.at.isoformat(), r.person, r.track, r.stage, r.round] for r in self.retries],
            "lap": self.lap,
            "told": self.told,
            "reached": [list(one) for one in self.reached],
        }

    @classmethod
    def load(cls, data: dict[str, Any]) -> Self:
        """Return the position that `dump` gave.

        Older ones listed who waited for a turn, and not who was told: there everybody of the stage has a turn.
        """
        retries = tuple(Retry(datetime.fromisoformat(at), *rest) for at, *rest in data["retries"])
        return cls(
            places=tuple(
                Place(entered, due_at and datetime.fromisoformat(due_at), bool(in_turn))
                for entered, due_at, in_turn in data["places"]
            ),
            retries=retries,
            lap=data["lap"],
            told=data["told"],
            reached=tuple((track, stage, person) for track, stage, person in data["reached"])
            if "reached" in data
            else tuple(dict.fromkeys((each.track, each.stage, each.person) for each in retries)),
        )


@dataclass(frozen=True, slots=True)
class Tell:
    """One person who is told now; `round` counts the retries, 0 is the first time.

    `within` is for how many seconds from now a message to them comes before what follows in the walk; `counts` says
    that the first of theirs does, and that they may answer it.
    """

    person: int
    stage: str
    round: int = 0
    labels: tuple[str, ...] = ()
    centralized: bool = False
    within: float = math.inf
    counts: bool = True

    def merged(self, other: "Tell") -> "Tell":
        """Return one telling for a person who is reached by two paths at once: over the contact methods of both."""
        labels = tuple(dict.fromkeys((*self.labels, *other.labels))) if self.labels and other.labels else ()
        return replace(
            self,
            labels=labels,
            round=min(self.round, other.round),
            within=max(self.within, other.within),
            counts=self.counts or other.counts,
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """A stage that reached nobody; `named` people were meant, `then` is the stage that came at once instead.

    `begun` says that it had told somebody before, and found nobody for a further turn or to tell again.
    """

    stage: str
    named: int
    then: str | None
    begun: bool = False

    def __str__(self) -> str:
        """Say it in one sentence."""
        nobody = "nobody else" if self.begun else "nobody"
        said = f"{self.stage}: {nobody} {'can be reached' if self.named else 'is there'}"
        return f"{said}. Going on to {self.then} at once." if self.then else f"{said}, and no further step follows."


@dataclass(frozen=True, slots=True)
class Advance:
    """What one moment brings: who is told, what led nowhere, and the position after it.

    `groups` are those whose shared contacts are told beside the people. They reach nobody in person: a stage with
    nobody else in it is passed over all the same.
    """

    tells: tuple[Tell, ...]
    gaps: tuple[Gap, ...]
    position: Position
    groups: tuple[int, ...] = ()

    @property
    def reaches(self) -> bool:
        """Answer whether somebody is notified who counts as reached."""
        return any(tell.counts for tell in self.tells)


@dataclass(frozen=True, slots=True)
class Coming:
    """What the walk does next in one track, for people: `label` at `at`."""

    at: datetime
    label: str


def start(plan: Plan, now: datetime) -> Position:
    """Return the position of a walk that starts now."""
    return Position(places=tuple(_first_places(plan, now, shift=0)))


def advance(plan: Plan, position: Position, *, now: datetime, people: People, first_use: FirstUse) -> Advance:
    """Do everything that is due by `now`, as one step in which nobody is told twice.

    `people` returns who a target stands for, `first_use` when a person counts as reached in a stage. A stage in which
    nobody counts before what comes after it is passed over at once; where its track ends with that, the next track
    comes at once. People of such a stage to whom something can be sent are notified all the same, once.
    """
    walker = _Walker(plan, position, now, people, first_use)
    walker.walk()
    return Advance(tuple(walker.tells.values()), tuple(walker.gaps), walker.position(), tuple(walker.groups))


def hurry(position: Position, now: datetime) -> Position:
    """Return the position with what comes next (a stage, or a member in turn) due now; retries keep their times."""
    earliest = min((place.due_at for place in position.places if place.due_at), default=None)
    if earliest is None or earliest <= now:
        return position
    places = tuple(replace(place, due_at=now) if place.due_at == earliest else place for place in position.places)
    return replace(position, places=places)


def coming(plan: Plan, position: Position) -> Coming | None:
    """Return the next stage, or member in turn, that the walk comes to; None when only retries are left."""
    due = [(place.due_at, track, place) for track, place in enumerate(position.places) if place.due_at]
    if not due:
        return None
    at, track, place = min(due, key=lambda found: found[:2])
    stages = plan.tracks[track].stages
    if place.in_turn:
        return Coming(at, f"the next {stages[place.entered - 1].label}")
    return Coming(at, stages[place.entered].label)


def _groups_told(stage: Stage, *, first: bool) -> Iterator[int]:
    """Return the groups whose shared contacts are told with a stage.

    A group that is told role by role is that with the first of them; one that is told as a whole, with each stage.
    """
    return (target.id for target in stage.targets if target.kind == "group" and (first or target.role is None))


def _first_places(plan: Plan, now: datetime, *, shift: float) -> Iterator[Place]:
    for track in plan.tracks:
        yield Place(due_at=now + timedelta(seconds=track.stages[0].wait + shift) if track.stages else None)


@dataclass
class _Walker:
    """The state of one advance."""

    plan: Plan
    begun: Position
    now: datetime
    people: People
    first_use: FirstUse
    tells: dict[int, Tell] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    groups: dict[int, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = list(self.begun.places)
        self.retries = list(self.begun.retries)
        self.lap = self.begun.lap
        self.told = self.begun.told
        self.reached = dict.fromkeys(self.begun.reached)
        self.earlier_gaps = 0  # those of laps that ended in this step

    def position(self) -> Position:
        return Position(tuple(self.places), tuple(self.retries), self.lap, self.told, tuple(self.reached))

    def walk(self) -> None:
        """Go on until nothing is due any more.

        It ends: stages, members and retries are finite, and a further lap begins only after one that told somebody
        whom this step had not told yet.
        """
        while self.is_due() or self.brings_on_another_track() or self.begins_again():
            for track in range(len(self.places)):
                self.go_along(track)
            self.make_retries()

    def is_due(self) -> bool:
        next_at = self.position().next_at
        return next_at is not None and next_at <= self.now

    def brings_on_another_track(self) -> bool:
        """Where a track ended with stages that reached nobody, let the first of those that have not begun begin now."""
        if any(tell.counts for tell in self.tells.values()) or len(self.gaps) == self.earlier_gaps:
            return False
        later = [(place.due_at, track) for track, place in enumerate(self.places) if place.due_at and not place.entered]
        if not later:
            return False
        _, track = min(later)
        label = self.plan.tracks[track].stages[0].label
        self.places[track] = Place(due_at=self.now)
        self.gaps[self.earlier_gaps :] = [
            replace(gap, then=gap.then or label) for gap in self.gaps[self.earlier_gaps :]
        ]
        return True

    def begins_again(self) -> bool:
        """Begin the next lap where this one has ended."""
        if self.retries or any(place.due_at for place in self.places):
            return False
        if not self.told or self.lap >= self.plan.repeats:
            return False
        self.lap += 1
        self.told = False
        self.reached.clear()
        self.earlier_gaps = len(self.gaps)
        waits = [track.stages[0].wait for track in self.plan.tracks if track.stages]
        shift = self.wait_of_a_repeat() - min(waits, default=0.0)
        self.places = list(_first_places(self.plan, self.now, shift=shift))
        return True

    def go_along(self, track: int) -> None:
        while (due_at := self.places[track].due_at) is not None and due_at <= self.now:
            if self.places[track].in_turn:
                self.call_next(track)
            else:
                self.enter(track)

    def enter(self, track: int) -> None:
        """Enter the track's next stage: tell its people, or the first of them, or pass over it."""
        number = self.places[track].entered
        stage = self.plan.tracks[track].stages[number]
        self.groups.update(dict.fromkeys(_groups_told(stage, first=number == 0)))
        named, found = self.asked(stage)
        if stage.between > 0 and found:
            self.call(found, track=track, number=number)
            return
        within = self.time_after(track, number)
        if any(first_use <= within for first_use in found.values()):
            for person, first_use in found.items():
                self.tell(person, first_use, within=within, track=track, number=number)
            self.leave(track, number + 1)
        else:
            for person in found:
                self.inform(person, track=track, number=number)
            self.pass_over(track, number, named=len(named))

    def asked(self, stage: Stage) -> tuple[Sequence[int], dict[int, float]]:
        """Return whom the stage stands for now, and for those who can be notified when they count as reached."""
        named = tuple(dict.fromkeys(person for target in stage.targets for person in self.people(target)))
        uses = ((person, self.first_use(person, stage)) for person in named)
        return named, {person: first_use for person, first_use in uses if first_use is not None}

    def time_after(self, track: int, number: int) -> float:
        """Return how many seconds there are from a stage until what comes after it.

        That is the track's next stage; after its last one, whatever else comes last in the walk: a retry of its own, a
        stage of another track, a repeat of the whole.
        """
        following = self.following(track, number + 1)
        if following is not None:
            return following.wait
        stage = self.plan.tracks[track].stages[number]
        others = [place.due_at for other, place in enumerate(self.places) if other != track and place.due_at]
        ends = [(due_at - self.now).total_seconds() for due_at in others]
        if self.lap < self.plan.repeats:
            ends.append(self.wait_of_a_repeat())
        return max(stage.retries * stage.retry_gap, *ends, 0.0)

    def wait_of_a_repeat(self) -> float:
        """Return after how many seconds the first stage of a repeat comes."""
        waits = [track.stages[0].wait for track in self.plan.tracks if track.stages]
        return max(self.plan.repeat_wait, min(waits, default=0.0))

    def pass_over(self, track: int, number: int, *, named: int, begun: bool = False) -> None:
        """Say that a stage reaches nobody, and let the track's next stage come at once."""
        following = self.following(track, number + 1)
        label, then = self.plan.tracks[track].stages[number].label, following.label if following else None
        gap = Gap(label, named, then, begun=begun)
        self.places[track] = Place(number + 1, self.now if following else None)
        if not begun or gap not in self.gaps:
            self.gaps.append(gap)

    def call_next(self, track: int) -> None:
        """Tell the next of those who are in the stage now and had no turn; where none is left, pass it over."""
        number = self.places[track].entered - 1
        named, found = self.asked(self.plan.tracks[track].stages[number])
        left = self.not_reached(found, track=track, number=number)
        if left:
            self.call({person: found[person] for person in left}, track=track, number=number)
        else:
            self.pass_over(track, number, named=len(named), begun=True)

    def call(self, left: Mapping[int, float], *, track: int, number: int) -> None:
        """Notify the first of those who are left of a stage in turn, and set when the next of them, or stage, comes.

        Nobody waits for a person who does not count before that: the next one's turn is then now.
        """
        stage = self.plan.tracks[track].stages[number]
        begun = any(reached[:2] == (track, number) for reached in self.reached)
        for index, (person, first_use) in enumerate(left.items(), start=1):
            is_last = index == len(left)
            within = self.time_after(track, number) if is_last else stage.between
            if first_use <= within:
                self.tell(person, first_use, within=within, track=track, number=number)
                if is_last:
                    self.leave(track, number + 1)
                else:
                    self.places[track] = Place(number + 1, self.now + timedelta(seconds=within), in_turn=True)
                return
            self.inform(person, track=track, number=number)
        self.pass_over(track, number, named=len(left), begun=begun)

    def leave(self, track: int, entered: int) -> None:
        """Set when the track's next stage comes: its wait counts from now, the last first notification."""
        following = self.following(track, entered)
        self.places[track] = Place(entered, self.now + timedelta(seconds=following.wait) if following else None)

    def following(self, track: int, entered: int) -> Stage | None:
        stages = self.plan.tracks[track].stages
        return stages[entered] if entered < len(stages) else None

    def make_retries(self) -> None:
        due = sorted(
            (retry for retry in self.retries if retry.at <= self.now),
            key=lambda retry: (retry.at, retry.track, retry.round),
        )
        self.retries = [retry for retry in self.retries if retry.at > self.now]
        for retry in due:
            self.make_retry(retry)

    def make_retry(self, retry: Retry) -> None:
        """Tell the person again, or whoever stands in the stage instead of them by now."""
        track, number = retry.track, retry.stage
        stage, place = self.plan.tracks[track].stages[number], self.places[track]
        is_newest = place.entered == number + 1  # no later stage of the track has come
        named, found = self.asked(stage)
        fresh = self.not_reached(found, track=track, number=number)
        able = {person for person, first_use in found.items() if first_use < math.inf}
        within = self.time_left(track, number, round_=retry.round)
        if retry.person in able:  # the others are notified once, and not again
            self.tell(retry.person, found[retry.person], within=within, track=track, number=number, round_=retry.round)
        elif is_newest and place.in_turn:
            self.places[track] = replace(place, due_at=self.now)  # whose turn comes next is told instead
            if not able:
                self.retry_after(retry.person, track=track, number=number, round_=retry.round)
            return
        elif fresh:
            for person in fresh:
                self.tell(person, found[person], within=within, track=track, number=number, round_=retry.round)
        else:
            # They may be back by the next time, or somebody else be there.
            self.retry_after(retry.person, track=track, number=number, round_=retry.round)
        goes_on = self.following(track, number + 1) is not None
        if not able and is_newest and (goes_on or retry.round == stage.retries):
            self.pass_over(track, number, named=len(named), begun=True)

    def time_left(self, track: int, number: int, *, round_: int) -> float:
        """Return how many seconds there are from a retry of a stage until what comes after it."""
        stage, due_at = self.plan.tracks[track].stages[number], self.places[track].due_at
        if due_at is not None:
            return max((due_at - self.now).total_seconds(), 0.0)
        return max(self.time_after(track, number) - round_ * stage.retry_gap, 0.0)

    def not_reached(self, found: Iterable[int], *, track: int, number: int) -> list[int]:
        """Return who of these was not told in the stage yet."""
        return [person for person in found if (track, number, person) not in self.reached]

    def retry_after(self, person: int, *, track: int, number: int, round_: int) -> None:
        """Set when the person is told again after this round, if at all."""
        stage = self.plan.tracks[track].stages[number]
        if round_ < stage.retries:
            self.retries.append(Retry(self.now + timedelta(seconds=stage.retry_gap), person, track, number, round_ + 1))

    def tell(self, person: int, first_use: float, *, within: float, track: int, number: int, round_: int = 0) -> None:
        """Notify a person of a stage that is not passed over; they get its retries, too, if they may answer."""
        stage = self.plan.tracks[track].stages[number]
        if first_use < math.inf:
            self.retry_after(person, track=track, number=number, round_=round_)
        if stage.retries or stage.between:
            self.reached[track, number, person] = None
        self.add(Tell(person, stage.label, round_, stage.labels, stage.centralized, within, counts=first_use <= within))

    def inform(self, person: int, *, track: int, number: int) -> None:
        """Notify a person for whom nobody waits: once, without retries."""
        stage = self.plan.tracks[track].stages[number]
        if stage.retries or stage.between:
            self.reached[track, number, person] = None
        self.add(Tell(person, stage.label, 0, stage.labels, stage.centralized, 0.0, counts=False))

    def add(self, telling: Tell) -> None:
        before = self.tells.get(telling.person)
        merged = before.merged(telling) if before else telling
        self.tells[telling.person] = merged
        if merged.counts and not (before and before.counts):
            self.told = True
