"""Start the escalations of new alerts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.db import connection, transaction

from escalation import walk
from escalation.models import EscalationPolicy, EscalationRun, ResponsePlay
from escalation.services.last_resort import Reason, tell_stewards
from escalation.services.people import Directory
from escalation.services.plans import Compiler, Recipients
from escalation.services.steps import Step, take_step, write_steps
from heartbeat_project.kernel.sql import array, records, statement


@dataclass(frozen=True, slots=True)
class Way:
    """What an escalation follows, and whom it is for: alerts of the same way are told in the same steps.

    `opted_out` are users who do not want to be told about what the alert is about.
    """

    organization_id: int
    policy: EscalationPolicy | None
    play: ResponsePlay | None
    group_ids: tuple[int, ...] = ()
    user_ids: tuple[int, ...] = ()
    opted_out: frozenset[int] = frozenset()

    @property
    def rule(self) -> EscalationPolicy | ResponsePlay | None:
        """The policy or the play."""
        return self.policy or self.play

    @property
    def name(self) -> str:
        """Of the policy or play."""
        return self.rule.name if self.rule else ""

    @property
    def version(self) -> int:
        """Of the policy or play."""
        return self.rule.version if self.rule else 0

    @property
    def refusal(self) -> str:
        """Why this cannot be walked at all; empty when it can."""
        if self.rule is None:
            return "The integration has no escalation policy and no response play."
        kind = "escalation policy" if self.policy else "response play"
        return "" if self.rule.enabled else f"The {kind} “{self.rule.name}” is disabled."

    @property
    def remedy(self) -> str:
        """What to do about the refusal."""
        return "enable it, or choose another one" if self.rule else "choose an escalation policy or a response play"


class Starter:
    """Starts the escalations of what opens at one moment: who is told then is read once for many batches.

    It is read again when a batch goes another way, or when a policy or play was edited in between.
    """

    def __init__(self, *, now: datetime) -> None:
        self._now = now
        self._read: tuple[dict[tuple[Way, int], walk.Plan], Directory] | None = None

    def start(self, starts: Sequence[tuple[Way, Sequence[int]]]) -> None:
        """Start the runs of alerts, given by id with their way, and do their first step at once, in one transaction.

        The number of statements does not depend on how many there are, and the walk is computed once for each way. A
        run that leads to nobody, or cannot be walked, is told to the Owners and App Admins in the same transaction.
        """
        if not starts:
            return
        ways = [way for way, _ in starts]
        with transaction.atomic():
            plans, directory = self._whom_to_tell(ways)
            steps = [_first_step(way, plan, directory, now=self._now) for way, plan in zip(ways, plans, strict=True)]
            run_ids = iter(_insert(starts, plans, steps))
            for (_, alert_ids), step in zip(starts, steps, strict=True):
                step.runs.extend(zip(islice(run_ids, len(alert_ids)), alert_ids, strict=True))
            walked = [step for way, step in zip(ways, steps, strict=True) if not way.refusal]
            write_steps(walked, directory, now=self._now)
            refused = {
                run_id: Reason(way.refusal, remedy=way.remedy)
                for way, step in zip(ways, steps, strict=True)
                if way.refusal
                for run_id, _ in step.runs
            }
            if refused:
                runs = EscalationRun.objects.select_related("alert").filter(pk__in=refused)
                tell_stewards({run: refused[run.pk] for run in runs}, now=self._now)

    def _whom_to_tell(self, ways: Sequence[Way]) -> tuple[list[walk.Plan], Directory]:
        """Return each way's plan, and whoever they lead to."""
        keys = [(way, way.version) for way in ways]
        if self._read is None or not self._read[0].keys() >= set(keys):
            plans = dict(zip(keys, plans_of(ways), strict=True))
            self._read = plans, Directory.of(plans.values(), now=self._now)
        known, directory = self._read
        return [known[key] for key in keys], directory


def plans_of(ways: Sequence[Way]) -> list[walk.Plan]:
    """Return each way's plan, in a number of queries that does not depend on how many there are."""
    compiler = Compiler(
        policies=[way.policy for way in ways if way.policy],
        plays=[way.play for way in ways if way.play],
        group_ids=[group_id for way in ways for group_id in way.group_ids],
    )
    return [_plan(way, compiler) for way in ways]


def _plan(way: Way, compiler: Compiler) -> walk.Plan:
    recipients = Recipients(way.group_ids, way.user_ids)
    if way.refusal:
        return walk.Plan()
    if way.policy:
        return compiler.policy(way.policy, recipients)
    assert way.play  # noqa: S101 - there is no refusal
    return compiler.play(way.play, recipients)


def _first_step(way: Way, plan: walk.Plan, directory: Directory, *, now: datetime) -> Step:
    return take_step(
        plan,
        walk.start(plan, now),
        directory,
        organization_id=way.organization_id,
        name=way.name,
        taken=0,
        opted_out=way.opted_out,
        now=now,
    )


def _insert(
    starts: Sequence[tuple[Way, Sequence[int]]],
    plans: Sequence[walk.Plan],
    steps: Sequence[Step],
) -> list[int]:
    """Insert the runs as they stand after their first step; return their ids in the alerts' order."""
    with connection.cursor() as cursor:
        cursor.execute(
            statement("escalation", "start_runs"),
            {
                "alerts": array(alert_id for _, alert_ids in starts for alert_id in alert_ids),
                "numbers": array(number for number, (_, alert_ids) in enumerate(starts) for _ in alert_ids),
                "ways": records(
                    {
                        "number": number,
                        "policy_id": way.policy and way.policy.pk,
                        "play_id": way.play and way.play.pk,
                        "name": way.name,
                        "version": way.version,
                        "acknowledge_stops": bool(way.policy and way.policy.acknowledge_stops),
                        "recovery_notice": way.rule.recovery_notice if way.rule else True,
                        "withheld": way.policy.withheld if way.policy else [],
                        "plan": plan.dump(),
                        "position": step.advance.position.dump(),
                        "step": step.number,
                        "next_step_at": step.next_at,
                    }
                    for number, ((way, _), plan, step) in enumerate(zip(starts, plans, steps, strict=True))
                ),
            },
        )
        return [run_id for (run_id,) in cursor.fetchall()]
