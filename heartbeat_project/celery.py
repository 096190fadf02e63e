"""The Celery app: a doorbell over the broker; what is due, and when, stands in PostgreSQL."""

import os
from typing import Any

from celery import Celery, signals

from heartbeat_project.schedule import BEAT_SCHEDULE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heartbeat_project.settings")

app = Celery("heartbeat")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = BEAT_SCHEDULE
app.autodiscover_tasks()


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Leave logging as settings configured it; Celery would otherwise put its own handlers in."""
