"""Add people to a running alert: somebody asks others for help, whoever owns the alert."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from django.db import transaction

from accounts.models.groups import Group
from accounts.models.users import User
from accounts.selectors import opted_out
from alerting.models.alerts import Alert
from alerting.services import alerts
from alerting.states import Action
from alerting.via import Via
from escalation.engine import walk
from escalation.engine.compile_plan import PlanCompiler, Recipients
from escalation.engine.plan import MAX_TRACKS, Plan
from escalation.engine.recipients import RecipientDirectory
from escalation.engine.write_step import take_step, write_moments
from escalation.models.policies import ResponsePlay
from escalation.models.runs import EscalationRun
from escalation.responses.act import follow
from heartbeat_project.kernel.errors import FieldError

# The end of the sentence that says why somebody is notified; the name of the person who asks stands before it.
ASKS_FOR_HELP: Final = "asks you to help with this alert."


def add_responders(
    alert: Alert,
    *,
    actor: User,
    via: Via,
    now: datetime,
    users: Sequence[User] = (),
    groups: Sequence[Group] = (),
    response_play: ResponsePlay | None = None,
) -> Alert:
    """Notify these people and groups now, and the tiers of a play at their offsets from now, beside the escalation.

    They are notified whoever owns the alert, and can see it from now on. The later tiers of a play are steps of the
    escalation and stop with it. Raises StateConflict if the alert is over, and FieldError if nobody is named or none of
    them can be notified; then nothing is changed.
    """
    field = "users" if users or not groups else "groups"
    if not (users or groups or response_play):
        raise FieldError("users", "Choose people, groups or a response play to notify.", code="required")
    if response_play is not None and not response_play.enabled:
        raise FieldError("response_play", f"The response play “{response_play}” is disabled.")
    with transaction.atomic():
        names = [*map(str, users), *(f"{group} (group)" for group in groups)]
        names += [f"“{response_play}” (response play)"] if response_play else []
        sentence = f"{actor} asked for help: {', '.join(names)}."
        alert = alerts.add_responders(alert, actor=actor, via=via, now=now, text=sentence)
        recipients = Recipients(tuple(group.pk for group in groups), tuple(user.pk for user in users))
        alerts.add_recipients(alert, group_ids=recipients.group_ids, user_ids=recipients.user_ids)
        run = EscalationRun.objects.select_for_update(no_key=True).filter(alert=alert).first()
        if run is None:
            raise alerts.StateConflict("This alert follows no escalation, so nobody can be added to it.")
        plan = Plan.load(run.plan)
        compiler = PlanCompiler(policies=[], plays=[response_play] if response_play else [], group_ids=[])
        # A plan of its own without working hours: people who are asked for help are notified at night, too.
        alone = Plan(compiler.compile_responders(recipients, response_play), priority=alert.priority)
        if len(plan.tracks) + len(alone.tracks) > MAX_TRACKS:
            raise FieldError(
                field,
                "Too many people were added to this alert. No more can be added.",
            )
        directory = RecipientDirectory.of([alone], now=now)
        step = take_step(
            alone,
            walk.start(alone, now),
            directory,
            organization_id=alert.organization_id,
            name=run.name,
            steps_done=run.step,
            opted_out=opted_out([alert.integration_id]).get(alert.integration_id, frozenset()),
            now=now,
        )
        if not step.advance.pages and step.next_at is None:
            reasons = " ".join(map(str, step.advance.skipped))
            raise FieldError(field if names else "response_play", f"None of them can be notified. {reasons}")
        plan, position = walk.add_tracks(plan, walk.Position.load(run.position), alone.tracks, step.advance.position)
        run.plan, run.position, run.step = plan.dump(), position.dump(), step.number
        run.next_step_at = position.next_at
        run.save(update_fields=["plan", "position", "step", "next_step_at"])
        follow(run, alert, Action.ADD_RESPONDERS, actor=actor, now=now)
        asked = replace(step, asked_for=f"{actor} {ASKS_FOR_HELP}", runs=[(run.pk, alert.pk)])
        write_moments([asked], now=now)
    return alert
