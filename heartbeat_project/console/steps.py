"""Steps of an escalation as the pages show them: a line for each person."""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from escalation.services.preview import Moment


@dataclass(frozen=True, slots=True)
class Line:
    """What one person, or what a group shares, is told in one step: over what, and when where that is later."""

    name: str
    stage: str
    again: bool
    methods: list[tuple[str, datetime | None]]


def lines_of(moment: Moment) -> list[Line]:
    """Return a line for each person of a step."""
    return [
        Line(
            name=name,
            stage=stage,
            again=round_ > 0,
            methods=[(told.label, told.at if told.at > moment.at else None) for told in methods],
        )
        for (_, name, stage, round_), methods in groupby(
            moment.told, key=lambda told: (told.user_id or -(told.group_id or 0), told.name, told.stage, told.round)
        )
    ]
