"""The plan that a run follows (pure): tracks of stages, and whom each leads to."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

# The priority of plans that were stored before plans had one: every contact method is used for it.
_MOST_URGENT: Final = "critical"
# Tracks of one escalation; all of them are written again with every step.
MAX_TRACKS: Final = 100


@dataclass(frozen=True, slots=True)
class Target:
    """One user, or the members of one group: those with this group role, or all of them if it is None."""

    kind: str
    id: int
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """Some people who are notified together or in turn. All times are in seconds.

    `wait` counts from the last member's first notification of the stage before, in a track's first stage from the
    start. `between` 0 notifies everybody at once, above 0 one after another. Each is notified again `retries` times,
    `retry_gap` apart. `labels` names the contact methods of a `centralized` stage; none means every method.
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
    """Stages that follow one another."""

    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Tracks side by side; the whole is repeated `repeats` times, at least `repeat_wait` seconds after its end.

    `priority` is that of its alerts; people are notified over the methods that they use for it. `low_waits_until`
    ("07:00") is the end of the nights in which nobody is notified, by each person's own clock; None: nothing waits.
    The last people of one repeat have as much time before the next repeat as they would have before anything else: the
    wait between members, the gap between retries, or the wait before the next track.
    """

    tracks: tuple[Track, ...] = ()
    repeats: int = 0
    repeat_wait: float = 0
    priority: str = _MOST_URGENT
    low_waits_until: str | None = None

    @property
    def targets(self) -> set[Target]:
        """Return the targets of all stages."""
        return {target for track in self.tracks for stage in track.stages for target in stage.targets}

    def dump(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        return asdict(self)

    @classmethod
    def load(cls, data: dict[str, Any]) -> Self:
        """Return the plan from what `dump` returned."""
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
        return cls(
            tracks=tracks,
            repeats=data["repeats"],
            repeat_wait=data["repeat_wait"],
            priority=data.get("priority", _MOST_URGENT),
            low_waits_until=data.get("low_waits_until"),
        )
