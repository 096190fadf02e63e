"""The Celery app for beat alone: it knows the schedule but no task, so beat needs little more than half the memory.

`-A heartbeat_project.celery beat` does the same work with all that a worker loads.
"""

import gc
import os
from typing import Any

from celery import Celery, signals

from heartbeat_project.configuration import load_settings
from heartbeat_project.schedule import BEAT_SCHEDULE

# Whatever the environment says: this process is beat, and its children are none of Heartbeat's.
os.environ["DJANGO_SETTINGS_MODULE"] = "heartbeat_project.beat_settings"
# Django's checks are about apps and pages that are not here; `bootstrap` and the workers run them.
os.environ["CELERY_SKIP_CHECKS"] = "true"
load_settings()

app = Celery("heartbeat")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = BEAT_SCHEDULE


@signals.beat_init.connect
def collect_garbage_rarely(**_: Any) -> None:
    """Leave what is loaded by now out of garbage collections: it stays."""
    gc.collect()
    gc.freeze()


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Do nothing: without a receiver of this signal, Celery would replace the logging of the settings with its own."""
