"""Escalations that run by a policy or play while it is edited: they go on as they began, or a person stops them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from accounts.models import User
from alerting.models import Alert, TimelineEntry
from alerting.states import LIVE
from escalation.models import EscalationPolicy, EscalationRun, ResponsePlay
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.sql import array, statement

Rule = EscalationPolicy | ResponsePlay


def count_running(rule: Rule) -> int:
    """Return how many escalations of alerts that are not over follow this policy or play, and were not stopped."""
    by = Q(policy=rule) if isinstance(rule, EscalationPolicy) else Q(play=rule)
    alerts = Alert.objects.filter(organization_id=rule.organization_id, status__in=sorted(LIVE))
    return EscalationRun.objects.filter(by, alert__in=alerts).exclude(position__has_key="stopped").count()


def follow_change(rule: Rule, what: str, *, stop_running: bool = False, actor: User | None, now: datetime) -> None:
    """Say in the timelines of the escalations that run by it what somebody did to a policy or play; or stop them.

    `what` is "changed", "disabled" or "deleted". The caller's transaction makes the change. Raises
    FieldError("stop_running") where they are to be stopped by something that goes on notifying people.
    """
    if not stop_running:
        _say(rule, what, actor=actor, now=now)
    elif what == "changed" and rule.enabled:
        raise FieldError(
            "stop_running",
            "Escalations are stopped only together with disabling what they follow: new ones would begin.",
        )
    else:
        _stop(rule, actor=actor, now=now)


def follow_integration(integration_id: int, what: str, *, actor: User | None, now: datetime) -> None:
    """Say in the timelines of an integration's alerts that something changed by which theirs would go otherwise."""
    runs: QuerySet[EscalationRun] = EscalationRun.objects.filter(
        alert__integration_id=integration_id, alert__status__in=sorted(LIVE), next_step_at__isnull=False
    )
    TimelineEntry.objects.bulk_create(
        TimelineEntry(
            alert_id=alert_id,
            at=now,
            kind=TimelineEntry.Kind.RULE_CHANGED,
            actor=actor,
            text=f"{what}{_by(actor)}; this escalation goes on as it began (“{name}”, version {version}).",
        )
        for alert_id, name, version in runs.order_by("alert_id").values_list("alert_id", "name", "version")
    )


def put_away_unsent(alert_ids: Sequence[int]) -> None:
    """Put away what was not sent yet about these alerts, because nobody is to be notified of them that way."""
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "put_away"), {"alerts": array(alert_ids)})


def _say(rule: Rule, what: str, *, actor: User | None, now: datetime) -> None:
    said = f"{_named(rule)} was {what}{_by(actor)}; this escalation goes on as it began (version "
    with connection.cursor() as cursor:
        # `format` of PostgreSQL puts the run's own version where %s stands.
        text = f"{said.replace('%', '%%')}%s)."
        cursor.execute(statement("escalation", "say_rule_changed"), _parameters(rule, actor, now) | {"text": text})


def _stop(rule: Rule, *, actor: User | None, now: datetime) -> None:
    """End the escalations, and put away what was not sent yet: a second statement sees what was written meanwhile."""
    text = (
        f"{_named(rule)} was disabled and its escalations stopped{_by(actor)}: nobody is notified by this one any "
        "more, the Owners and App Admins neither."
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


def _named(rule: Rule) -> str:
    return f"The {'policy' if isinstance(rule, EscalationPolicy) else 'response play'} “{rule.name}”"


def _by(actor: User | None) -> str:
    return f" by {actor}" if actor else ""
