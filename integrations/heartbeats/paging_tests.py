"""Paging tests: an alert that is marked as a test and notifies the people whom an alert of the integration would."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models.users import User
from alerting.models.alerts import TEST_LASTS, Alert
from alerting.selectors import live_test
from alerting.services.alerts import AlertDraft, add_viewers, close_alerts, open_alerts
from escalation.engine.preview import EscalationPreview, preview_escalation
from escalation.engine.start import EscalationStarter, Route
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.errors import DomainError
from integrations.heartbeats.routes import route_of
from integrations.models.heartbeats import HeartbeatEvent
from integrations.models.integrations import InboundIntegration

SOURCE = "Test"
TIME_IS_OVER = "the test has ended"


class TestRunning(DomainError):
    """A test of its paging is still open. Close it first, or wait until it closes by itself."""

    __test__ = False  # pytest would take it for a class of tests

    code = "test_running"
    title = "A test is under way"
    status = 409


class CannotBePaged(DomainError):
    """Its policy or play cannot be followed."""

    code = "cannot_be_paged"
    title = "There is nothing to test"
    status = 409


def preview_test(integration: InboundIntegration, *, at: datetime) -> EscalationPreview:
    """Return who would be notified by a test that starts at that instant."""
    return preview_escalation(route_of(integration), at=at)


def start_test(integration: InboundIntegration, *, actor: User, now: datetime) -> Alert:
    """Open an alert that is marked as a test and start its escalation, in one transaction, exactly as its alerts do.

    A disabled integration and a maintenance window do not prevent it, and pings and events do not close it. It can be
    answered like any alert, and closes by itself after TEST_LASTS. Raises TestRunning while an earlier test is open,
    and CannotBePaged if the policy or play is disabled.
    """
    route = route_of(integration)
    if route.why_unusable:
        raise CannotBePaged(f"{route.why_unusable} Choose or enable one, then test again.")
    try:
        with transaction.atomic():
            (alert_id,) = open_alerts([_draft(integration, route, actor=actor, now=now)], now=now)
            add_viewers([(alert_id, actor.pk)])
            EscalationStarter(now=now).start([(route, [alert_id])])
            if integration.is_heartbeat:
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
    """Close the tests whose time is over; return how many were closed."""
    over = Alert.objects.filter(live_test(), opened_at__lte=now - TEST_LASTS)
    return len(close_alerts(list(over.values_list("pk", flat=True)), reason=TIME_IS_OVER, now=now))


def _draft(integration: InboundIntegration, route: Route, *, actor: User, now: datetime) -> AlertDraft:
    name, lasts, noun = integration.name, in_words(TEST_LASTS), integration.noun
    occasion = f"when the heartbeat “{name}” falls silent" if integration.is_heartbeat else f"of alerts of “{name}”"
    facts: list[dict[str, Any]] = [
        {"label": noun.capitalize(), "text": name},
        {"label": "Test started by", "text": str(actor)},
        {"label": "Closes by itself", "at": (now + TEST_LASTS).isoformat()},
    ]
    return AlertDraft(
        organization_id=integration.organization_id,
        subject=f"[TEST] {name}: test of who is notified",
        short_text=f"TEST of {name} by {actor}. Nothing is wrong. It closes by itself in {lasts}.",
        long_text=f"This is a TEST of who is notified {occasion}, started by {actor}. "
        "Nothing is wrong.\n"
        f"Answer it as you would in earnest. Until somebody takes it, the escalation goes on; it closes by itself "
        f"after {lasts}.\n"
        f"{noun.capitalize()}: {settings.BASE_URL}/heartbeats/{integration.pk}/",
        facts=facts,
        source=SOURCE,
        source_name=f"[TEST] {name}",
        source_id=str(integration.pk),
        priority=route.priority,
        integration_id=integration.pk,
        bridge_id=integration.bridge_id,
        group_ids=route.group_ids,
        user_ids=route.user_ids,
        actor_id=actor.pk,
        is_test=True,
    )
