"""Steps of an escalation as the pages show them: one row for each recipient."""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from escalation.engine.preview import PreviewNotification, PreviewStep


@dataclass(frozen=True, slots=True)
class StepRow:
    """One recipient of a step, a person or a group's shared contacts, and the contact methods used.

    `methods` has (label, time) pairs; the time is None if the method is used at the time of the step itself.
    """

    name: str
    stage: str
    again: bool
    methods: list[tuple[str, datetime | None]]


def recipients_in(preview_step: PreviewStep) -> list[StepRow]:
    """Return one row for each recipient, stage and retry of a step, in the order of its notifications."""
    rows: list[StepRow] = []
    for (_, name, stage, retry), notifications in groupby(preview_step.notifications, key=_row_key):
        methods = [
            (notification.label, notification.at if notification.at > preview_step.at else None)
            for notification in notifications
        ]
        rows.append(StepRow(name=name, stage=stage, again=retry > 0, methods=methods))
    return rows


def _row_key(notification: PreviewNotification) -> tuple[int, str, str, int]:
    # Groups get negative ids, so that a group and a user with the same id stay apart.
    recipient_id = notification.user_id or -(notification.group_id or 0)
    return recipient_id, notification.name, notification.stage, notification.retry
