"""The state of heartbeats that changes with each ping, and the log of all other changes."""

from datetime import timedelta
from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from accounts.models.users import User
from heartbeat_project.kernel.fields import MinutesColumn
from integrations.models.integrations import InboundIntegration


class Heartbeat(models.Model):
    """The timer and settings of a heartbeat integration: one narrow row, which each ping updates."""

    class StartTimer(models.TextChoices):
        """What starts the first interval."""

        WHEN_ENABLED = "when_enabled", "When enabled"
        FIRST_PING = "first_ping", "At the first ping"

    class State(models.TextChoices):
        """The stored states; maintenance is not one of them, see `suspended_until`."""

        WAITING = "waiting", "Waiting for the first ping"
        HEALTHY = "healthy", "Healthy"
        MISSED = "missed", "Missed"
        DISABLED = "disabled", "Disabled"

    integration = models.OneToOneField(
        InboundIntegration,
        models.CASCADE,
        primary_key=True,
        related_name="heartbeat",
    )
    interval_minutes = MinutesColumn(default=None)
    grace_minutes = MinutesColumn()
    start_timer = models.CharField(max_length=12, choices=StartTimer.choices, default=StartTimer.WHEN_ENABLED)
    allow_get = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State.choices)
    last_ping_at = models.DateTimeField(null=True)
    last_gap = models.DurationField(
        null=True,
        help_text="The newest time between two pings that was no longer than interval and grace.",
    )
    ping_count = models.BigIntegerField(default=0)
    armed_at = models.DateTimeField(
        null=True,
        help_text="The deadline counts from then: last ping or activation, moved by maintenance and our own outages.",
    )
    deadline_at = models.DateTimeField(null=True, help_text="armed_at + interval + grace; empty while no timer runs.")
    suspended_until = models.DateTimeField(null=True, help_text="End of the maintenance window it is in.")
    set_back = models.DurationField(
        default=timedelta,
        db_default=timedelta(),
        help_text="DatabaseClock.set_back of the last step back by which its times were moved.",
    )
    excused_until = models.DateTimeField(
        null=True,
        help_text="When the newest ping was expected for which one of our own outages gave it a new interval.",
    )
    quarantined_until = models.DateTimeField(
        null=True,
        help_text="When a miss that could not be recorded (see error) is tried again.",
    )
    error = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(interval_minutes__gte=Decimal("0.1"), interval_minutes__lte=44640),
                name="interval_in_bounds",
            ),
            models.CheckConstraint(condition=Q(grace_minutes__gte=0, grace_minutes__lte=44640), name="grace_in_bounds"),
            models.CheckConstraint(
                condition=Q(armed_at__isnull=True, deadline_at__isnull=True)
                | Q(armed_at__isnull=False, deadline_at__isnull=False),
                name="deadline_needs_a_start",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["healthy", "missed"]) | Q(deadline_at__isnull=False),
                name="running_timer_has_deadline",
            ),
            models.CheckConstraint(
                condition=~Q(state="disabled") | Q(deadline_at__isnull=True),
                name="disabled_has_no_timer",
            ),
        ]
        indexes = [
            # The detector's tick: rows whose timer runs, by when they are missed.
            models.Index(
                F("deadline_at"),
                condition=Q(state__in=["waiting", "healthy"], deadline_at__isnull=False),
                name="heartbeat_due",
            ),
            models.Index(
                fields=["quarantined_until"],
                condition=Q(quarantined_until__isnull=False),
                name="heartbeat_quarantined",
            ),
        ]

    def __str__(self) -> str:
        return f"heartbeat of {self.integration_id}"


class HeartbeatEvent(models.Model):
    """One line of a heartbeat's log: a change other than a ping."""

    class Kind(models.TextChoices):
        """What changed."""

        CREATED = "created", "Created"
        CHANGED = "changed", "Changed"
        ENABLED = "enabled", "Enabled"
        DISABLED = "disabled", "Disabled"
        ROTATED = "rotated", "API URL rotated"
        MISSED = "missed", "Missed"
        RECOVERED = "recovered", "Recovered"
        MAINTENANCE = "maintenance", "Maintenance"
        OUTAGE = "outage", "Deadline moved by our own outage"
        QUARANTINED = "quarantine", "Quarantined after an error"
        TESTED = "tested", "Paging tested"

    # No constraint, as for alerting.TimelineEntry.alert.
    integration = models.ForeignKey(
        InboundIntegration, models.CASCADE, related_name="events", db_index=False, db_constraint=False
    )
    at = models.DateTimeField()
    kind = models.CharField(max_length=12, choices=Kind.choices)
    actor = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", db_index=False)
    text = models.TextField(blank=True)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            # Serves the foreign key, too.
            models.Index(fields=["integration", "-at", "-id"], name="event_by_integration"),
            models.Index(fields=["actor"], condition=Q(actor__isnull=False), name="event_by_actor"),
        ]

    def __str__(self) -> str:
        return self.text or self.get_kind_display()
