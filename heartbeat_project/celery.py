"""The Celery app: a doorbell over the broker; what is due, and when, stands in PostgreSQL."""

import gc
import os
from typing import Any

from celery import Celery, signals
from django.template import engines

from heartbeat_project.schedule import BEAT_SCHEDULE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heartbeat_project.settings")

app = Celery("heartbeat")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = BEAT_SCHEDULE
app.autodiscover_tasks()


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Leave logging as settings configured it; Celery would otherwise put its own handlers in."""


@signals.worker_ready.connect
def be_ready_for_a_storm(**_: Any) -> None:
    """Load what the first mail needs, and let the collector pass over what stays, which is nearly all there is."""
    if "delivery" in app.amqp.queues.consume_from:
        engines.all()
    gc.collect()
    gc.freeze()
