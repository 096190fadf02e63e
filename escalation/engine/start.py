"""Start the escalations of new alerts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import Any

from django.db import transaction

from accounts.models.contact_methods import Priority
from escalation.engine import walk
from escalation.engine.compile_plan import PlanCompiler, Recipients
from escalation.engine.last_resort import Reason, notify_fallback_recipients
from escalation.engine.plan import Plan
from escalation.engine.recipients import RecipientDirectory
from escalation.engine.write_step import Step, take_step, write_steps
from escalation.models.nights import waits_until
from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.prepared import fetch
from heartbeat_project.kernel.sql import array, records, statement

Starts = Sequence[tuple["Route", Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Route:
    """What an escalation follows and whom it is for. Alerts of the same route are escalated in the same steps.

    `opted_out` are the ids of users who do not want to be notified about the alert's integration. `own_priority` is the
    alert's priority if it differs from that of its policy or play.
    """

    organization_id: int
    policy: EscalationPolicy | None
    play: ResponsePlay | None
    group_ids: tuple[int, ...] = ()
    user_ids: tuple[int, ...] = ()
    opted_out: frozenset[int] = frozenset()
    own_priority: str = ""

    @property
    def priority(self) -> str:
        """Return the alerts' priority."""
        return self.own_priority or (self.rule.priority if self.rule else Priority.NONE)

    @property
    def rule(self) -> EscalationPolicy | ResponsePlay | None:
        """Return the policy or the play; None if the integration has neither."""
        return self.policy or self.play

    @property
    def name(self) -> str:
        """Return the name of the policy or play."""
        return self.rule.name if self.rule else ""

    @property
    def version(self) -> int:
        """Return the version of the policy or play."""
        return self.rule.version if self.rule else 0

    @property
    def why_unusable(self) -> str:
        """Return why no escalation can follow this route, as a sentence; empty if one can."""
        if self.rule is None:
            return "The integration has no escalation policy and no response play."
        kind = "escalation policy" if self.policy else "response play"
        return "" if self.rule.enabled else f"The {kind} “{self.rule.name}” is disabled."

    @property
    def remedy(self) -> str:
        """Return what to do about `why_unusable`."""
        return "enable it, or choose another one" if self.rule else "choose an escalation policy or a response play"


class EscalationStarter:
    """Starts the escalations of alerts that open at one instant, in batches.

    Plans and recipients are read once for all batches. They are read again if a batch has a new route, or if a policy
    or play was edited in between.
    """

    def __init__(self, *, now: datetime) -> None:
        self._now = now
        # Plans by route and by the version of its policy or play, and the directory of all of them.
        self._cache: tuple[dict[tuple[Route, int], Plan], RecipientDirectory] | None = None

    def start(self, starts: Starts) -> None:
        """Start the runs of alerts and do their first step at once, in one transaction.

        `starts` gives each route with the ids of its alerts. The number of statements does not depend on how many there
        are, and the walk is computed once for each route. If a run reaches nobody, or its route is unusable, the Owners
        and App Admins are notified in the same transaction.
        """
        if not starts:
            return
        routes = [route for route, _ in starts]
        with transaction.atomic():
            plans, directory = self._read_recipients(routes)
            steps = [
                _first_step(route, plan, directory, now=self._now) for route, plan in zip(routes, plans, strict=True)
            ]
            run_ids = iter(_insert(starts, plans, steps))
            for (_, alert_ids), step in zip(starts, steps, strict=True):
                step.runs.extend(zip(islice(run_ids, len(alert_ids)), alert_ids, strict=True))
            usable_steps = []
            reasons: dict[int, Reason] = {}
            for route, step in zip(routes, steps, strict=True):
                if route.why_unusable:
                    reason = Reason(route.why_unusable, remedy=route.remedy)
                    reasons.update((run_id, reason) for run_id, _ in step.runs)
                else:
                    usable_steps.append(step)
            write_steps(usable_steps, now=self._now)
            if reasons:
                runs = EscalationRun.objects.select_related("alert").filter(pk__in=reasons)
                notify_fallback_recipients({run: reasons[run.pk] for run in runs}, now=self._now)

    def _read_recipients(self, routes: Sequence[Route]) -> tuple[list[Plan], RecipientDirectory]:
        """Return each route's plan, and the directory of everybody whom the plans lead to."""
        keys = [(route, route.version) for route in routes]
        if self._cache is None or not self._cache[0].keys() >= set(keys):
            plans = dict(zip(keys, plans_of(routes), strict=True))
            self._cache = plans, RecipientDirectory.of(plans.values(), now=self._now)
        plans_by_key, directory = self._cache
        return [plans_by_key[key] for key in keys], directory


def plans_of(routes: Sequence[Route]) -> list[Plan]:
    """Return each route's plan, in a number of queries that does not depend on how many there are."""
    compiler = PlanCompiler(
        policies=[route.policy for route in routes if route.policy],
        plays=[route.play for route in routes if route.play],
        group_ids=chain.from_iterable(route.group_ids for route in routes),
    )
    return [_plan(route, compiler) for route in routes]


def _plan(route: Route, compiler: PlanCompiler) -> Plan:
    recipients = Recipients(route.group_ids, route.user_ids)
    if route.why_unusable:
        return Plan()
    rule = route.rule
    assert rule  # noqa: S101 - otherwise the route would be unusable
    if isinstance(rule, EscalationPolicy):
        plan = compiler.compile_policy(rule, recipients)
    else:
        plan = compiler.compile_play(rule, recipients)
    waits = waits_until(route.priority, low_waits_until=rule.low_waits_until)
    return replace(plan, priority=route.priority, low_waits_until=waits)


def _first_step(route: Route, plan: Plan, directory: RecipientDirectory, *, now: datetime) -> Step:
    return take_step(
        plan,
        walk.start(plan, now),
        directory,
        organization_id=route.organization_id,
        name=route.name,
        steps_done=0,
        opted_out=route.opted_out,
        now=now,
    )


def _insert(starts: Starts, plans: Sequence[Plan], steps: Sequence[Step]) -> list[int]:
    """Insert the runs as they stand after their first step; return their ids in the alerts' order."""
    alert_ids: list[int] = []
    # For each alert the index of its route: a plan is large, and a storm sends it once for thousands of alerts.
    numbers: list[int] = []
    for number, (_, ids) in enumerate(starts):
        alert_ids += ids
        numbers += [number] * len(ids)
    routes = (
        _route_record(number, route, plan, step)
        for number, ((route, _), plan, step) in enumerate(zip(starts, plans, steps, strict=True))
    )
    parameters = {"alerts": array(alert_ids), "numbers": array(numbers), "routes": records(routes)}
    rows = fetch(statement("escalation", "start_runs"), parameters, length=len(alert_ids))
    return [run_id for (run_id,) in rows]


def _route_record(number: int, route: Route, plan: Plan, step: Step) -> dict[str, Any]:
    """Return what the runs of one route have in common."""
    return {
        "number": number,
        "policy_id": route.policy and route.policy.pk,
        "play_id": route.play and route.play.pk,
        "name": route.name,
        "version": route.version,
        "acknowledge_stops": bool(route.policy and route.policy.acknowledge_stops),
        "recovery_notice": route.rule.recovery_notice if route.rule else True,
        "disabled_actions": route.policy.disabled_actions if route.policy else [],
        "reopen_after_minutes": str(route.rule.reopen_after_minutes) if route.rule else 0,
        "plan": plan.dump(),
        "position": step.advance.position.dump(),
        "step": step.number,
        "next_step_at": step.next_at,
    }
