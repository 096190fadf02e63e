"""When beat rings: each second for what is due by the rows, and now and then to keep house."""

from celery.schedules import schedule

EVERY_SECOND = schedule(run_every=1.0)

BEAT_SCHEDULE = (
    {
        name: {"task": name, "schedule": EVERY_SECOND, "options": {"queue": queue, "expires": 5}}
        for name, queue in (
            ("integrations.detect_misses", "engine"),
            ("escalation.advance_escalations", "engine"),
            ("escalation.deliver_due", "delivery"),
        )
    }
    | {
        name: {"task": name, "schedule": schedule(run_every=60.0), "options": {"queue": queue, "expires": 60}}
        for name, queue in (
            ("escalation.read_calendars", "delivery"),
            ("escalation.remind_of_duty", "engine"),
            ("escalation.go_on_without_leavers", "engine"),
        )
    }
    | {
        "integrations.keep_history": {
            "task": "integrations.keep_history",
            "schedule": schedule(run_every=600.0),
            "options": {"queue": "engine", "expires": 600},
        },
    }
)
