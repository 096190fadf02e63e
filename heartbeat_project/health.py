"""The views for probes: `/healthz` (alive), `/readyz` (able to store pings, degraded parts) and `/metrics`."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Max
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from alerting.models.alerts import Alert
from alerting.selectors import live_test
from alerting.states import STOPPED, Status
from escalation.engine.progress import Work, oldest_due, progress
from escalation.models.notifications import Notification
from heartbeat_project.condition import PARTS, condition, degraded, engine_lag, first_line, in_time
from heartbeat_project.disk import free_space
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.addresses import is_loopback
from heartbeat_project.kernel.proxies import OTHER_HEADERS, WAS_FORWARDED
from integrations.inbound import mails
from integrations.models.heartbeats import Heartbeat
from integrations.models.outages import IngestState, Outage
from integrations.ping_lane.health import PROCESS_HEALTH
from integrations.upkeep.tick_log import counts as tick_counts

# A pulse is committed every second, and a query that times out takes longer than this: an older pulse proves nothing.
JUST_COMMITTED: Final = timedelta(seconds=2.5)


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - a view
    """Answer that the process is alive, without asking the database."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - a view
    """Answer 200 if this process can commit pings, else 503; other faults make it `degraded` and are listed by part."""
    now = clock.now()
    try:
        report = in_time(lambda: _report(now=now))
    except (DatabaseError, TimeoutError) as error:
        report = _report_without_database(first_line(error), now=clock.now())
    is_ready = all(check["ok"] for check in report["checks"].values())
    if not is_ready:
        return JsonResponse({"status": "not_ready"} | report, status=503)
    return JsonResponse({"status": "degraded" if report["parts"] else "ok"} | report)


def _report_without_database(reason: str, *, now: datetime) -> dict[str, Any]:
    """Return the report if the database did not answer: the ping lane may commit while pages get no connection."""
    commits = (
        PROCESS_HEALTH.pulse_at is not None
        and now - PROCESS_HEALTH.pulse_at <= JUST_COMMITTED
        and not PROCESS_HEALTH.trouble(now=now)
    )
    trouble = f"Pages get no answer ({reason}); pings are stored. Check whether it is overloaded or out of connections."
    parts = {"database": trouble} if commits else {}
    return {"checks": {"database": {"ok": commits, "detail": reason}}, "parts": parts, "standstill": ""}


def _report(*, now: datetime) -> dict[str, Any]:
    missing = _missing_migrations()
    checks: dict[str, dict[str, Any]] = {
        "database": {"ok": True},
        "migrations": {"ok": not missing, "missing": missing},
        "listening": {"ok": True},
    }
    if trouble := PROCESS_HEALTH.trouble(now=now):
        checks["listening"] = {"ok": False, "detail": trouble}
    if missing:
        return {"checks": checks, "parts": {}, "standstill": ""}
    return {"checks": checks, "parts": degraded(now=now), "standstill": condition(now=now).standstill}


_migrated: set[str] = set()


def _missing_migrations() -> int:
    """Return the number of unapplied migrations; once it was zero, only check the connection, which is cheaper."""
    alias = str(connection.settings_dict["NAME"])
    if alias in _migrated:
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return 0
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if not missing:
        _migrated.add(alias)
    return missing


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics of the installation in Prometheus' text format, counted over live rows only.

    Each request counts anew, over all organizations. It needs the token, or must come from a program on this machine.
    """
    if not (_has_token(request) or _is_local(request)):
        return HttpResponse(
            "Send HEARTBEAT_METRICS_TOKEN as a bearer token, or send the request from the machine itself (behind a "
            "proxy, add it to HEARTBEAT_TRUSTED_PROXIES first).\n",
            content_type="text/plain; charset=utf-8",
            headers={"WWW-Authenticate": "Bearer"},
            status=401,
        )
    now = clock.now()
    try:
        registry = in_time(lambda: _numbers(now=now))
    except (DatabaseError, TimeoutError) as error:
        return HttpResponse(f"{first_line(error)}\n", content_type="text/plain; charset=utf-8", status=503)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _has_token(request: HttpRequest) -> bool:
    sent_token = request.headers.get("Authorization", "").encode()
    expected = f"Bearer {settings.METRICS_TOKEN}".encode()
    return bool(settings.METRICS_TOKEN) and constant_time_compare(sent_token, expected)


def _is_local(request: HttpRequest) -> bool:
    """Return whether a program on this machine sent the request itself, and did not forward it as a proxy."""
    if request.META.get(WAS_FORWARDED) or any(name in request.META for name in OTHER_HEADERS):
        return False
    # An unknown proxy may add no header at all, so that its requests look local.
    return not settings.HAS_UNKNOWN_PROXY and is_loopback(request.META.get("REMOTE_ADDR", ""))


def _numbers(*, now: datetime) -> CollectorRegistry:
    registry = CollectorRegistry()
    stored_until = IngestState.objects.aggregate(at=Max("stored_until"))["at"]
    _age(registry, "heartbeat_pulse_age_seconds", "Age of the newest pulse.", stored_until, now=now)
    _gauge(registry, "heartbeat_engine_lag_seconds", "How long the oldest due work has waited.", engine_lag(now=now))
    last_times = {work: row.at for work, row in progress().items()}
    counts = {work: row.count for work, row in progress().items()}
    _age(
        registry, "heartbeat_judged_age_seconds", "Age of the last judged moment.", last_times.get(Work.JUDGED), now=now
    )
    _age(registry, "heartbeat_engine_age_seconds", "Time since an engine worked.", last_times.get(Work.ENGINE), now=now)
    _age(
        registry,
        "heartbeat_delivery_age_seconds",
        "Time since a delivery worked.",
        last_times.get(Work.DELIVERY),
        now=now,
    )
    _age(registry, "heartbeat_oldest_due_seconds", "How long a message has been due.", oldest_due(now=now), now=now)
    given_up = Gauge("heartbeat_pages_given_up_total", "Pages that were given up.", registry=registry)
    given_up.set(counts.get(Work.GIVEN_UP, 0))
    if (room := free_space(settings.DATA_DIR)) is not None:
        Gauge("heartbeat_disk_free_bytes", "Free bytes on the data folder's disk.", registry=registry).set(room[0])
    part = Gauge("heartbeat_degraded", "1 if the part is degraded, else 0.", ["part"], registry=registry)
    degraded_parts = degraded(now=now)
    for name in PARTS:
        part.labels(name).set(name in degraded_parts)
    _count_alerts(registry)
    unsent = Notification.objects.filter(next_attempt_at__isnull=False)
    Gauge("heartbeat_notifications_unsent", "Notifications that wait to be sent.", registry=registry).set(
        unsent.count()
    )
    quarantined = Heartbeat.objects.filter(quarantined_until__isnull=False, deadline_at__lte=now)
    Gauge("heartbeat_quarantined", "Heartbeats whose miss cannot be recorded.", registry=registry).set(
        quarantined.count()
    )
    Gauge("heartbeat_outages_total", "Outages in which no pings could be received.", registry=registry).set(
        Outage.objects.count(),
    )
    events = Gauge(
        "heartbeat_inbound_events", "Mails that wait, failed or are postponed.", ["state"], registry=registry
    )
    for state, count in mails.counts(now=now).items():
        events.labels(state).set(count)
    _count_ticks(registry)
    return registry


def _count_alerts(registry: CollectorRegistry) -> None:
    alerts = Gauge("heartbeat_alerts_live", "Alerts that are not closed.", ["status"], registry=registry)
    # Two queries, because open alerts have their own partial index and the other statuses share one.
    stopped = Alert.objects.filter(status__in=sorted(STOPPED)).values_list("status").annotate(n=Count("id"))
    counts = {Status.OPEN: Alert.objects.filter(status=Status.OPEN).count()} | dict.fromkeys(sorted(STOPPED), 0)
    tests = Counter(Alert.objects.filter(live_test()).order_by().values_list("status", flat=True))
    for status, count in (counts | dict(stopped)).items():
        alerts.labels(status).set(count - tests[status])


def _age(registry: CollectorRegistry, name: str, help_text: str, at: datetime | None, *, now: datetime) -> None:
    age = timedelta() if at is None else now - at
    _gauge(registry, name, help_text, age)


def _count_ticks(registry: CollectorRegistry) -> None:
    ticks = Gauge("heartbeat_ticks_total", "Periodic tasks that were begun.", ["task", "by"], registry=registry)
    for task, by_celery, by_itself in tick_counts():
        ticks.labels(task, "celery").set(by_celery)
        ticks.labels(task, "itself").set(by_itself)


def _gauge(registry: CollectorRegistry, name: str, help_text: str, value: timedelta) -> None:
    Gauge(name, help_text, registry=registry).set(value.total_seconds())
