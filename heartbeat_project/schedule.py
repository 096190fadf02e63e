"""The periodic tasks: every second for work that is due, every minute or ten minutes for upkeep."""

from typing import Final

from celery.schedules import schedule

# Task name -> (queue, period in seconds). Beat sends them; without the broker, the workers run them by themselves.
PERIODIC: Final = {
    "integrations.do_engine_work": ("engine", 1.0),
    "escalation.deliver_due": ("delivery", 1.0),
    "escalation.read_calendars": ("delivery", 60.0),
    "escalation.remind_before_shifts": ("engine", 60.0),
    "escalation.notify_newly_on_call": ("engine", 60.0),
    "escalation.go_on_without_leavers": ("engine", 60.0),
    "integrations.send_daily_lists": ("engine", 60.0),
    "escalation.notify_of_failing": ("engine", 60.0),
    "integrations.watch_coverage": ("delivery", 60.0),
    "integrations.keep_history": ("engine", 600.0),
}

# Periodic tasks of earlier versions, which beat deletes from its tables: now only wake-ups run them.
FORMERLY_PERIODIC: Final = ("integrations.detect_misses", "escalation.advance_escalations", "integrations.read_events")

BEAT_SCHEDULE = {
    name: {
        "task": name,
        "schedule": schedule(run_every=every),
        # A tick that no worker took expires, because there is a newer one.
        "options": {"queue": queue, "expires": max(5, int(every))},
    }
    for name, (queue, every) in PERIODIC.items()
}
