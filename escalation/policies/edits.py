"""What an edit of a policy or play means for escalations that follow it: they go on as they began, or are stopped."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from accounts.models.users import User
from alerting.models.alerts import Alert, TimelineEntry
from alerting.states import LIVE
from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.sql import array, statement

Rule = EscalationPolicy | ResponsePlay


def count_running(rule: Rule) -> int:
    """Return how many escalations of alerts that are not over follow this policy or play; stopped ones do not count."""
    by = Q(policy=rule) if isinstance(rule, EscalationPolicy) else Q(play=rule)
    alerts = Alert.objects.filter(organization_id=rule.organization_id, status__in=sorted(LIVE))
    return EscalationRun.objects.filter(by, alert__in=alerts).exclude(position__has_key="stopped").count()


def follow_change(rule: Rule, change: str, *, stop_running: bool = False, actor: User | None, now: datetime) -> None:
    """Record a change of a policy or play in the timelines of the escalations that follow it; or stop them.

    `change` is "changed", "disabled" or "deleted". The caller's transaction makes the change. Raises
    FieldError("stop_running") if escalations are to be stopped although the rule stays enabled.
    """
    if not stop_running:
        _record(rule, change, actor=actor, now=now)
    elif change == "changed" and rule.enabled:
        # New escalations would begin at once, so that stopping would promise more than it keeps.
        raise FieldError(
            "stop_running",
            "Escalations are stopped only together with disabling what they follow: new ones would begin.",
        )
    else:
        _stop(rule, actor=actor, now=now)


def follow_integration(integration_id: int, change_text: str, *, actor: User | None, now: datetime) -> None:
    """Record a change of an integration in the timelines of its alerts whose escalations go on without it.

    `change_text` is the beginning of a sentence, such as "The recipients were changed".
    """
    runs: QuerySet[EscalationRun] = EscalationRun.objects.filter(
        alert__integration_id=integration_id, alert__status__in=sorted(LIVE), next_step_at__isnull=False
    )
    TimelineEntry.objects.bulk_create(
        TimelineEntry(
            alert_id=alert_id,
            at=now,
            kind=TimelineEntry.Kind.RULE_CHANGED,
            actor=actor,
            text=f"{change_text}{_by(actor)}; this escalation goes on as it began (“{name}”, version {version}).",
        )
        for alert_id, name, version in runs.order_by("alert_id").values_list("alert_id", "name", "version")
    )


def put_away_unsent(alert_ids: Sequence[int]) -> None:
    """Supersede the unsent messages about these alerts: nobody is to be notified by them any more."""
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "supersede_unsent"), {"alerts": array(alert_ids)})


def _record(rule: Rule, change: str, *, actor: User | None, now: datetime) -> None:
    sentence = f"{_name(rule)} was {change}{_by(actor)}; this escalation goes on as it began (version "
    with connection.cursor() as cursor:
        # The function `format` of PostgreSQL replaces %s by the run's own version.
        text = f"{sentence.replace('%', '%%')}%s)."
        cursor.execute(statement("escalation", "say_rule_changed"), _parameters(rule, actor, now) | {"text": text})


def _stop(rule: Rule, *, actor: User | None, now: datetime) -> None:
    """End the escalations and supersede their unsent messages.

    These are two statements, because only the second one sees messages that another transaction wrote while the first
    waited for the locks of its runs.
    """
    text = (
        f"{_name(rule)} was disabled and its escalations stopped{_by(actor)}: this one notifies nobody any more, not "
        "even the Owner and App Admins."
    )
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "stop_runs"), _parameters(rule, actor, now) | {"text": text})
        alert_ids = [alert_id for (alert_id,) in cursor.fetchall()]
    put_away_unsent(alert_ids)


def _parameters(rule: Rule, actor: User | None, now: datetime) -> dict[str, Any]:
    return {
        "organization": rule.organization_id,
        "policy": rule.pk if isinstance(rule, EscalationPolicy) else None,
        "play": rule.pk if isinstance(rule, ResponsePlay) else None,
        "actor": actor.pk if actor else None,
        "now": now,
    }


def _name(rule: Rule) -> str:
    kind = "policy" if isinstance(rule, EscalationPolicy) else "response play"
    return f"The {kind} “{rule.name}”"


def _by(actor: User | None) -> str:
    return f" by {actor}" if actor else ""
