"""Reassign an alert: restart its escalation in other groups or by another policy."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from accounts.models.groups import Group
from accounts.models.users import User
from accounts.selectors import opted_out
from alerting.models.alerts import Alert
from alerting.services import alerts
from alerting.states import Action
from alerting.via import Via
from escalation.engine.compile_plan import Recipients, recipients_of
from escalation.engine.plan import Plan
from escalation.engine.preview import why_nobody_is_first
from escalation.engine.restart import begin
from escalation.engine.start import Route, plans_of
from escalation.models.policies import EscalationPolicy
from escalation.models.runs import EscalationRun
from escalation.policies.edits import put_away_unsent
from escalation.responses.act import follow
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.wakeup import wake_on_commit


def reassign(
    alert: Alert,
    *,
    actor: User,
    via: Via,
    now: datetime,
    groups: Sequence[Group] = (),
    escalation_policy: EscalationPolicy | None = None,
) -> Alert:
    """Restart the alert's escalation in these groups (by default its present ones), by this policy.

    Without a policy it follows its present one, as that reads now. The alert loses its owner and its acknowledgement,
    and notifications that were not sent yet are superseded. Raises StateConflict if the alert is over, and FieldError
    for the field that is wrong, also if nobody would be notified; then nothing is changed.
    """
    if not groups and escalation_policy is None:
        raise FieldError("groups", "Choose groups or an escalation policy.", code="required")
    field = "groups" if groups else "escalation_policy"
    with transaction.atomic():
        targets = [", ".join(map(str, groups))] if groups else []
        targets += [f"the policy “{escalation_policy}”"] if escalation_policy else []
        sentence = f"{actor} reassigned it to {' by '.join(targets)}: the escalation starts again."
        alert = alerts.reassign(alert, actor=actor, via=via, now=now, text=sentence)
        run = EscalationRun.objects.select_for_update(no_key=True).filter(alert=alert).first()
        if run is None:
            raise alerts.StateConflict("This alert has no escalation, so it cannot be reassigned.")
        policy = escalation_policy or EscalationPolicy.objects.filter(pk=run.policy_id or 0).first()
        if policy is None:
            reason = "follows a response play" if run.play_id else "no longer follows a policy"
            raise FieldError(
                "escalation_policy", f"This alert {reason}. Choose the policy that the groups should follow."
            )
        recipients = Recipients(tuple(group.pk for group in groups)) if groups else recipients_of(_plan_of(run))
        opted_out_ids = opted_out([alert.integration_id]).get(alert.integration_id, frozenset())
        route = Route(
            alert.organization_id,
            policy,
            None,
            recipients.group_ids,
            recipients.user_ids,
            opted_out_ids,
            alert.priority,
        )
        if route.why_unusable:
            raise FieldError("escalation_policy", route.why_unusable)
        if reason := why_nobody_is_first([route], at=now)[0]:
            raise FieldError(field, f"Nobody would be notified. {reason}")
        put_away_unsent([alert.pk])
        alerts.add_recipients(alert, group_ids=recipients.group_ids, user_ids=recipients.user_ids)
        _begin(run, route, now=now)
        follow(run, alert, Action.REASSIGN, actor=actor, now=now)
    wake_on_commit("escalation.advance_escalations", queue="engine")
    return alert


def _plan_of(run: EscalationRun) -> Plan:
    return Plan.load(run.plan)


def _begin(run: EscalationRun, route: Route, *, now: datetime) -> None:
    """Restart a run, whose row the caller has locked, on a route with a policy."""
    assert route.policy  # noqa: S101 - for the type: the caller passes no other routes
    (plan,) = plans_of([route])
    run.policy, run.play, run.name, run.version = route.policy, None, route.name, route.version
    run.acknowledge_stops, run.recovery_notice = route.policy.acknowledge_stops, route.policy.recovery_notice
    run.disabled_actions, run.reopen_after_minutes = route.policy.disabled_actions, route.policy.reopen_after_minutes
    begin(run, plan, now=now)
    run.save()
