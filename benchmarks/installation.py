"""Fills the tables with one large organization: its people and rules, 100,000 heartbeats, 20,000 alerts, and events."""

from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection
from psycopg.types.json import Jsonb

from accounts.services.organizations import create_organization
from escalation.engine import walk
from escalation.engine.start import Route, plans_of
from escalation.models.policies import EscalationPolicy
from heartbeat_project.kernel import clock
from integrations.coverage.watch import watch_coverage
from integrations.heartbeats.history import keep_history
from integrations.inbound.days import keep_days

HEARTBEATS, ALERTS = 100_000, 20_000
EVENTS = 10_000  # of one integration: as many as are kept
API_INTEGRATION = HEARTBEATS + 1  # the one that received them
SIZES = {
    "heartbeats": HEARTBEATS,
    "alerts": ALERTS,
    "events": EVENTS,
    "people": 500,
    "groups": 100,
    "policies": 30,
    "plays": 10,
    "bridges": 20,
    "windows": 50,
    "keys": 200,
    "entries": 100_000,
}
# One message to the Owner about several live alerts.
BUNDLE = UUID("00000000-0000-4000-8000-000000000001")
EVENT_DAYS = 7  # over which the events are spread, at one a minute
STATEMENTS = Path(__file__).with_name("installation.sql")


def fill_installation() -> int:
    """Empty the tables, fill them, and return the id of the organization, whose Owner is the user 1."""
    now = clock.now()
    with connection.cursor() as cursor:
        # Without triggers: those of the audit log refuse to empty it.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"TRUNCATE {', '.join(model._meta.db_table for model in _models())} CASCADE")  # noqa: SLF001
        cursor.execute("SET session_replication_role = DEFAULT")
    organization = create_organization(name="Benchmark", now=now)
    keep_history(now=now)
    for days in range(EVENT_DAYS, -1, -1):
        keep_days(now=now - timedelta(days=days))
    parameters = SIZES | {"organization": organization.pk, "message": str(BUNDLE)}

    @cache
    def run() -> dict[str, Jsonb]:
        """Return what a run of the first policy for the first group stores, once these are filled."""
        [plan] = plans_of([Route(organization.pk, EscalationPolicy.objects.get(pk=1), None, (1,))])
        return {"plan": Jsonb(plan.dump()), "position": Jsonb(walk.start(plan, now).dump())}

    with connection.cursor() as cursor:
        # Without triggers, which would write an entry of the audit log for each row.
        cursor.execute("SET session_replication_role = replica")
        for statement in STATEMENTS.read_text("utf-8").split(";\n"):
            if statement.strip():
                cursor.execute(statement, parameters | (run() if "%(plan)s" in statement else {}))
        cursor.execute("SET session_replication_role = DEFAULT")
        for reset in connection.ops.sequence_reset_sql(no_style(), _models()):
            cursor.execute(reset)
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    # As the worker does every few minutes.
    watch_coverage(now=now)
    return int(organization.pk)


def _models() -> list[Any]:
    """Return all models of the project, with those of many-to-many relations."""
    configs = [apps.get_app_config(name) for name in ("accounts", "alerting", "escalation", "integrations")]
    return [model for config in configs for model in config.get_models(include_auto_created=True)]
