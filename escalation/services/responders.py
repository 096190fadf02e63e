"""Add people to an alert under way: a person asks others for help, whoever has the alert."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from django.db import transaction

from accounts.models import Group, User
from accounts.selectors import opted_out
from alerting import services as alerts
from alerting.models import Alert
from alerting.states import Action
from escalation import walk
from escalation.models import EscalationRun, ResponsePlay
from escalation.services.actions import follow
from escalation.services.people import Directory
from escalation.services.plans import Compiler, Recipients
from escalation.services.steps import take_step, write_moments
from heartbeat_project.kernel.errors import FieldError

# An escalation carries so many tracks at most: each is written again with every step.
MOST_TRACKS: Final = 100


def add_responders(
    alert: Alert,
    *,
    actor: User,
    now: datetime,
    users: Sequence[User] = (),
    groups: Sequence[Group] = (),
    response_play: ResponsePlay | None = None,
) -> Alert:
    """Notify these people and groups now, and a play's tiers at their offsets from now, beside the escalation.

    They are notified whoever has the alert, and see it from now on; the later tiers of a play are steps of the
    escalation, which stop with it. Raises StateConflict where the alert is over, FieldError where nobody is given or
    nobody of them can be notified; then nothing is changed.
    """
    field = "users" if users or not groups else "groups"
    if not (users or groups or response_play):
        raise FieldError("users", "Name people, groups or a response play to be notified.", code="required")
    if response_play is not None and not response_play.enabled:
        raise FieldError("response_play", f"The response play “{response_play}” is disabled.")
    with transaction.atomic():
        named = [*map(str, users), *(f"{group} (group)" for group in groups)]
        named += [f"“{response_play}” (response play)"] if response_play else []
        alert = alerts.add_responders(alert, actor=actor, now=now, text=f"{actor} asked for help: {', '.join(named)}.")
        recipients = Recipients(tuple(group.pk for group in groups), tuple(user.pk for user in users))
        alerts.add_recipients(alert, group_ids=recipients.group_ids, user_ids=recipients.user_ids)
        run = EscalationRun.objects.select_for_update(no_key=True).filter(alert=alert).first()
        if run is None:
            raise alerts.StateConflict("This alert follows no escalation, so nobody can be added to it.")
        plan = walk.Plan.load(run.plan)
        compiler = Compiler(policies=[], plays=[response_play] if response_play else [], group_ids=[])
        alone = walk.Plan(compiler.responders(recipients, response_play))
        if len(plan.tracks) + len(alone.tracks) > MOST_TRACKS:
            raise FieldError(field, "So many people were added to this alert already that no more can be.")
        directory = Directory.of([alone], now=now)
        step = take_step(
            alone,
            walk.start(alone, now),
            directory,
            organization_id=alert.organization_id,
            name=run.name,
            taken=run.step,
            opted_out=opted_out([alert.integration_id]).get(alert.integration_id, frozenset()),
            now=now,
        )
        if not step.advance.tells and step.next_at is None:
            why = " ".join(map(str, step.advance.gaps))
            raise FieldError(field if named else "response_play", f"None of them can be notified. {why}")
        plan, position = walk.add_tracks(plan, walk.Position.load(run.position), alone.tracks, step.advance.position)
        run.plan, run.position, run.step = plan.dump(), position.dump(), step.number
        run.next_step_at = position.next_at
        run.save(update_fields=["plan", "position", "step", "next_step_at"])
        follow(run, alert, Action.ADD_RESPONDERS, actor=actor, now=now)
        asked = replace(step, asked_for=f"{actor} asks you to help with this alert.", runs=[(run.pk, alert.pk)])
        write_moments([asked], directory, now=now)
    return alert
