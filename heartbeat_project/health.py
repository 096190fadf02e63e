"""Alive, able to serve, and numbers for Prometheus."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Max, Min
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from alerting.models import Alert
from alerting.selectors import live_test
from alerting.states import STOPPED, Status
from escalation.models import EscalationRun, Notification
from heartbeat_project.kernel import clock
from integrations.ingest.hearing import HERE
from integrations.models import Heartbeat, Listening, Outage

# Beat ticks each second; an engine this late needs somebody to look.
ENGINE_LAG_LIMIT = timedelta(seconds=30)
PULSE_AGE_LIMIT = timedelta(seconds=10)


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - a view
    """Answer that the process is alive; asks nobody else."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - a view
    """Answer 200 when this installation can do its work, else 503 with what is missing."""
    try:
        checks = _checks(now=clock.now())
    except DatabaseError as error:
        checks = {"database": {"ok": False, "detail": str(error).splitlines()[0]}}
    ready = all(check["ok"] for check in checks.values())
    return JsonResponse({"status": "ok" if ready else "unready", "checks": checks}, status=200 if ready else 503)


def _checks(*, now: datetime) -> dict[str, dict[str, Any]]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    checks: dict[str, dict[str, Any]] = {
        "database": {"ok": True},
        "migrations": {"ok": not missing, "missing": len(missing)},
    }
    if not missing:
        lag, pulse_age = engine_lag(now=now), _pulse_age(now=now)
        checks["engine"] = {"ok": lag <= ENGINE_LAG_LIMIT, "lag_seconds": round(lag.total_seconds(), 1)}
        checks["listening"] = {
            "ok": pulse_age is not None and pulse_age <= PULSE_AGE_LIMIT,
            "pulse_age_seconds": None if pulse_age is None else round(pulse_age.total_seconds(), 1),
        }
        if trouble := HERE.trouble(now=now):
            checks["listening"] |= {"ok": False, "detail": trouble}
    return checks


def engine_lag(*, now: datetime) -> timedelta:
    """Return for how long the oldest due work has been waiting; zero when nothing is due."""
    heartbeat = Heartbeat.objects.filter(
        state__in=[Heartbeat.State.WAITING, Heartbeat.State.HEALTHY],
        deadline_at__lte=now,
    ).aggregate(at=Min("deadline_at"))["at"]
    run = EscalationRun.objects.filter(next_step_at__lte=now, alert__status=Alert.Status.OPEN).aggregate(
        at=Min("next_step_at"),
    )["at"]
    waiting = [at for at in (heartbeat, run) if at is not None]
    return now - min(waiting) if waiting else timedelta()


def _pulse_age(*, now: datetime) -> timedelta | None:
    heard = Listening.objects.aggregate(at=Max("heard_until"))["at"]
    return None if heard is None else now - heard


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - a view
    """Return the installation's numbers in Prometheus' text format; counted over live rows only."""
    now = clock.now()
    registry = CollectorRegistry()
    pulse_age = _pulse_age(now=now)
    _gauge(registry, "heartbeat_engine_lag_seconds", "How long the oldest due work has waited.", engine_lag(now=now))
    _gauge(registry, "heartbeat_pulse_age_seconds", "Age of the newest pulse.", pulse_age or timedelta())
    alerts = Gauge("heartbeat_alerts_live", "Alerts that are not closed.", ["status"], registry=registry)
    # The open ones have an index of their own, and the others share one.
    stopped = Alert.objects.filter(status__in=sorted(STOPPED)).values_list("status").annotate(n=Count("id"))
    counts = {Status.OPEN: Alert.objects.filter(status=Status.OPEN).count()} | dict.fromkeys(sorted(STOPPED), 0)
    tests = Counter(Alert.objects.filter(live_test()).order_by().values_list("status", flat=True))
    for status, count in (counts | dict(stopped)).items():
        alerts.labels(status).set(count - tests[status])
    unsent = Notification.objects.filter(next_attempt_at__isnull=False)
    Gauge("heartbeat_notifications_unsent", "Notifications to be sent.", registry=registry).set(unsent.count())
    set_aside = Heartbeat.objects.filter(set_aside_until__isnull=False)
    Gauge("heartbeat_set_aside", "Heartbeats whose miss cannot be recorded.", registry=registry).set(set_aside.count())
    Gauge("heartbeat_outages_total", "Times in which nobody could hear pings.", registry=registry).set(
        Outage.objects.count(),
    )
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _gauge(registry: CollectorRegistry, name: str, what: str, value: timedelta) -> None:
    Gauge(name, what, registry=registry).set(value.total_seconds())
