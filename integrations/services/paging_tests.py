"""Tests of a heartbeat's paging: an alert marked as a test that takes the true way to the true people, now."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import User
from alerting.models import TEST_LASTS, Alert, Priority
from alerting.selectors import live_test
from alerting.services import AlertDraft, add_viewers, close_alerts, open_alerts
from escalation.services.preview import Forecast, foresee
from escalation.services.runs import Starter, Way
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.errors import DomainError
from integrations.models import HeartbeatEvent, InboundIntegration
from integrations.readiness import way_of

SOURCE = "Test"
TIME_IS_OVER = "the test has ended"


class TestRunning(DomainError):
    """A test of this heartbeat's paging is still open. Close it first, or wait until it closes by itself."""

    __test__ = False  # pytest would take it for a class of tests

    code = "test_running"
    title = "A test is under way"
    status = 409


class CannotBePaged(DomainError):
    """Its policy or play cannot be followed."""

    code = "cannot_be_paged"
    title = "There is nothing to test"
    status = 409


def preview_test(integration: InboundIntegration, *, at: datetime) -> Forecast:
    """Return who would be notified by a test that starts at that instant."""
    return foresee(way_of(integration), at=at)


def start_test(integration: InboundIntegration, *, actor: User, now: datetime) -> Alert:
    """Open an alert marked as a test and start its escalation, in one transaction, exactly as a silence would.

    Neither a disabled heartbeat nor a maintenance window is in its way, and pings do not close it. It can be answered
    like any alert, and closes by itself after TEST_LASTS. Raises TestRunning while an earlier one is open, and
    CannotBePaged where the policy or play is disabled.
    """
    way = way_of(integration)
    if way.refusal:
        raise CannotBePaged(f"{way.refusal} Choose or enable one, then test again.")
    try:
        with transaction.atomic():
            (alert_id,) = open_alerts([_draft(integration, way, actor=actor, now=now)], now=now)
            add_viewers([(alert_id, actor.pk)])
            Starter(now=now).start([(way, [alert_id])])
            HeartbeatEvent.objects.create(
                integration=integration,
                at=now,
                kind=HeartbeatEvent.Kind.TESTED,
                actor=actor,
                text=f"Alert {alert_id} opened: a test of who is notified.",
            )
    except IntegrityError as error:
        if "one_live_test_per_integration" not in str(error):
            raise
        raise TestRunning from error
    return Alert.objects.get(pk=alert_id)


def end_tests(*, now: datetime) -> int:
    """Close the tests whose time is over, and return how many."""
    over = Alert.objects.filter(live_test(), opened_at__lte=now - TEST_LASTS)
    return len(close_alerts(list(over.values_list("pk", flat=True)), reason=TIME_IS_OVER, now=now))


def _draft(integration: InboundIntegration, way: Way, *, actor: User, now: datetime) -> AlertDraft:
    name, lasts = integration.name, in_words(TEST_LASTS)
    facts: list[dict[str, Any]] = [
        {"label": "Heartbeat", "text": name},
        {"label": "Test started by", "text": str(actor)},
        {"label": "Closes by itself", "at": (now + TEST_LASTS).isoformat()},
    ]
    return AlertDraft(
        organization_id=integration.organization_id,
        subject=f"[TEST] {name}: test of who is notified",
        short_text=f"TEST of {name} by {actor}. Nothing is wrong. It closes by itself in {lasts}.",
        long_text=f"This is a TEST of who is notified when the heartbeat “{name}” falls silent, started by {actor}. "
        "Nothing is wrong.\n"
        f"Answer it as you would in earnest. Until somebody takes it, the escalation goes on; it closes by itself "
        f"after {lasts}.\n"
        f"Heartbeat: {settings.BASE_URL}/heartbeats/{integration.pk}/",
        facts=facts,
        source=SOURCE,
        source_name=f"[TEST] {name}",
        source_id=str(integration.pk),
        priority=way.rule.priority if way.rule else Priority.NONE,
        integration_id=integration.pk,
        bridge_id=integration.bridge_id,
        group_ids=way.group_ids,
        user_ids=way.user_ids,
        actor_id=actor.pk,
        is_test=True,
    )
