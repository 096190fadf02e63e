"""When beat rings: each second, for what is due by the rows."""

from celery.schedules import schedule

EVERY_SECOND = schedule(run_every=1.0)

BEAT_SCHEDULE = {
    name: {"task": name, "schedule": EVERY_SECOND, "options": {"queue": queue, "expires": 5}}
    for name, queue in (
        ("integrations.detect_misses", "engine"),
        ("escalation.advance_escalations", "engine"),
        ("escalation.deliver_due", "delivery"),
    )
}
