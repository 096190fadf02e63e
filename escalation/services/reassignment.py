"""Reassign an alert: its escalation begins anew, in other groups or by another policy."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from accounts.models import Group, User
from accounts.selectors import opted_out
from alerting import services as alerts
from alerting.models import Alert
from alerting.states import Action
from escalation import walk
from escalation.models import EscalationPolicy, EscalationRun
from escalation.services.actions import follow
from escalation.services.plans import Recipients, recipients_of
from escalation.services.preview import why_nobody_is_first
from escalation.services.running import put_away_unsent
from escalation.services.runs import Way, plans_of
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.errors import FieldError


def reassign(
    alert: Alert,
    *,
    actor: User,
    now: datetime,
    groups: Sequence[Group] = (),
    escalation_policy: EscalationPolicy | None = None,
) -> Alert:
    """Begin the alert's escalation anew: in these groups, or where none is given with those it is for, by this policy.

    Without a policy it follows the one that it follows, as that is now. Nobody has the alert any more, nor has
    acknowledged it; what was not sent yet is put away. Raises StateConflict where the alert is over, FieldError at
    what is wrong, also where nobody could be notified; then nothing is changed.
    """
    if not groups and escalation_policy is None:
        raise FieldError("groups", "Name groups or an escalation policy.", code="required")
    field = "groups" if groups else "escalation_policy"
    with transaction.atomic():
        where = [", ".join(map(str, groups))] if groups else []
        where += [f"the policy “{escalation_policy}”"] if escalation_policy else []
        said = f"{actor} reassigned it to {' by '.join(where)}: the escalation begins anew."
        alert = alerts.reassign(alert, actor=actor, now=now, text=said)
        run = EscalationRun.objects.select_for_update(no_key=True).filter(alert=alert).first()
        if run is None:
            raise alerts.StateConflict("This alert follows no escalation, so none can begin anew.")
        policy = escalation_policy or run.policy
        if policy is None:
            why = "follows a response play, which names its own people" if run.play_id else "follows no policy any more"
            raise FieldError("escalation_policy", f"This alert {why}. Choose the policy by which to notify the groups.")
        recipients = Recipients(tuple(group.pk for group in groups)) if groups else recipients_of(_plan_of(run))
        unwilling = opted_out([alert.integration_id]).get(alert.integration_id, frozenset())
        way = Way(alert.organization_id, policy, None, recipients.group_ids, recipients.user_ids, unwilling)
        if way.refusal:
            raise FieldError("escalation_policy", way.refusal)
        if why := why_nobody_is_first([way], at=now)[0]:
            raise FieldError(field, f"Nobody would be notified. {why}")
        put_away_unsent([alert.pk])
        alerts.add_recipients(alert, group_ids=recipients.group_ids, user_ids=recipients.user_ids)
        _begin(run, way, now=now)
        follow(run, alert, Action.REASSIGN, actor=actor, now=now)
    ring("escalation.advance_escalations", queue="engine")
    return alert


def _plan_of(run: EscalationRun) -> walk.Plan:
    return walk.Plan.load(run.plan)


def _begin(run: EscalationRun, way: Way, *, now: datetime) -> None:
    """Let a run whose row the caller holds begin this way."""
    assert way.policy  # noqa: S101 - for the type: the caller has refused the rest
    (plan,) = plans_of([way])
    position = walk.start(plan, now)
    run.policy, run.play, run.name, run.version = way.policy, None, way.name, way.version
    run.acknowledge_stops, run.recovery_notice = way.policy.acknowledge_stops, way.policy.recovery_notice
    run.withheld, run.plan, run.position = way.policy.withheld, plan.dump(), position.dump()
    run.reopen_after_minutes = way.policy.reopen_after_minutes
    # A number of its own: a last resort is written once for each.
    run.step += 1
    run.begun_at_step, run.last_resort_at = run.step, None
    run.next_step_at, run.resting, run.error = position.next_at, False, ""
    run.save()
