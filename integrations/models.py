"""Inbound integrations, the hot state of heartbeats, and their history."""

from decimal import Decimal

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Lower

from accounts.models import Group, Organization, User
from alerting.models import Bridge
from escalation.models import EscalationPolicy, MinutesColumn, ResponsePlay
from heartbeat_project.kernel.ids import new_token


class InboundIntegration(models.Model):
    """Something that sends us signals: its configuration, whatever its type."""

    class Type(models.TextChoices):
        """In the order of the drop-down."""

        API = "api", "API"
        EMAIL = "email", "Email"
        CHAT = "chat", "Chat"
        HEARTBEAT = "heartbeat", "Heartbeat"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="integrations")
    type = models.CharField(max_length=10, choices=Type.choices, default=Type.HEARTBEAT)
    name = models.CharField("Integration Name", max_length=200)
    token = models.CharField(max_length=64, unique=True, default=new_token, help_text="The secret of the API URL.")
    escalation_policy = models.ForeignKey(
        EscalationPolicy,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="integrations",
    )
    response_play = models.ForeignKey(
        ResponsePlay,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="integrations",
    )
    recipient_groups = models.ManyToManyField(
        Group,
        blank=True,
        related_name="integrations",
        verbose_name="Recipient Group(s)",
    )
    recipient_users = models.ManyToManyField(
        User,
        blank=True,
        related_name="integrations",
        verbose_name="Recipient User(s)",
    )
    bridge = models.ForeignKey(Bridge, models.SET_NULL, null=True, blank=True, related_name="integrations")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="integration_name_unique"),
            models.CheckConstraint(
                condition=Q(escalation_policy__isnull=False, response_play__isnull=True)
                | Q(escalation_policy__isnull=True, response_play__isnull=False),
                name="policy_or_play",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Heartbeat(models.Model):
    """What changes with each ping, one narrow row for each heartbeat integration."""

    class StartTimer(models.TextChoices):
        """What starts the first interval."""

        WHEN_ENABLED = "when_enabled", "When enabled"
        FIRST_PING = "first_ping", "At the first ping"

    class State(models.TextChoices):
        """Where the heartbeat stands; maintenance is not stored, see `suspended_until`."""

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
    ping_count = models.BigIntegerField(default=0)
    armed_at = models.DateTimeField(
        null=True,
        help_text="What the deadline counts from: last ping or activation, moved by maintenance and our own outages.",
    )
    deadline_at = models.DateTimeField(null=True, help_text="armed_at + interval + grace; empty while no timer runs.")
    suspended_until = models.DateTimeField(null=True, help_text="End of the maintenance window it is in.")
    set_aside_until = models.DateTimeField(
        null=True,
        help_text="Its miss could not be recorded (see error); tried again then.",
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
                fields=["set_aside_until"],
                condition=Q(set_aside_until__isnull=False),
                name="heartbeat_set_aside",
            ),
        ]

    def __str__(self) -> str:
        return f"heartbeat of {self.integration_id}"


class Ping(models.Model):
    """One accepted request to an API URL; the table is partitioned by day (see services.history)."""

    integration_id = models.BigIntegerField(help_text="No foreign key: history costs no lock, and no cascade.")
    received_at = models.DateTimeField()
    method = models.CharField(max_length=4)
    source_ip = models.GenericIPAddressField(null=True)

    class Meta:
        ordering = ["-received_at", "-id"]
        indexes = [models.Index(fields=["integration_id", "-received_at", "-id"], name="ping_by_integration")]

    def __str__(self) -> str:
        return f"{self.method} at {self.received_at}"


class PingDay(models.Model):
    """A day that has a partition of its own in the ping history."""

    day = models.DateField(primary_key=True)
    counted_at = models.DateTimeField(null=True, help_text="When its pings were counted by the hour.")

    def __str__(self) -> str:
        return str(self.day)


class PingHour(models.Model):
    """How many pings an integration had in one hour of a day that has ended; kept longer than the pings."""

    integration_id = models.BigIntegerField()
    hour = models.DateTimeField()
    pings = models.IntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration_id", "hour"], name="ping_hour_once")]
        # For dropping what is too old: hours are written in the order of time.
        indexes = [BrinIndex(fields=["hour"], name="ping_hour_age")]

    def __str__(self) -> str:
        return f"{self.pings} pings at {self.hour}"


class HeartbeatEvent(models.Model):
    """One change in a heartbeat's life other than a ping."""

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
        SET_ASIDE = "set_aside", "Set aside after an error"
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


class MaintenanceWindow(models.Model):
    """A time in which nothing opens, for some heartbeats or for all."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="maintenance_windows")
    name = models.CharField(max_length=200)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text="Not included.")
    all_integrations = models.BooleanField(default=False)
    integrations = models.ManyToManyField(InboundIntegration, blank=True, related_name="maintenance_windows")
    applied_at = models.DateTimeField(null=True, editable=False, help_text="When its heartbeats were suspended.")

    class Meta:
        ordering = ["-starts_at", "-id"]
        constraints = [models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="window_is_forward")]
        indexes = [models.Index(fields=["starts_at"], condition=Q(applied_at=None), name="window_to_apply")]

    def __str__(self) -> str:
        return self.name


class Listening(models.Model):
    """The one row that says until when somebody was listening for pings."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    heard_until = models.DateTimeField(help_text="The newest pulse of any web process.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_listening_row")]

    def __str__(self) -> str:
        return str(self.heard_until)


class Listener(models.Model):
    """A web process, and up to when all that it heard is stored: one that is late holds up what is judged."""

    process = models.UUIDField(primary_key=True)
    heard_until = models.DateTimeField()
    pulsed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.process}: {self.heard_until}"


class Outage(models.Model):
    """A time in which nobody could hear pings; deadlines that ran through it are moved by its length."""

    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    moved_through = models.BigIntegerField(default=0, help_text="Heartbeats up to this id have been moved.")
    moved_count = models.BigIntegerField(default=0)
    done_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.CheckConstraint(condition=Q(ended_at__gt=F("started_at")), name="outage_is_forward")]
        indexes = [models.Index(fields=["id"], condition=Q(done_at=None), name="outage_to_apply")]

    def __str__(self) -> str:
        return f"{self.started_at} to {self.ended_at}"


class DailyList(models.Model):
    """The day of which an organization last had its list of heartbeats that are silent without an alert."""

    organization = models.OneToOneField(Organization, models.CASCADE, primary_key=True, related_name="+")
    day = models.DateField(help_text="In the organization's time zone.")

    def __str__(self) -> str:
        return f"list of {self.day}"


class CoverageWatch(models.Model):
    """What is known about the coverage gaps of one organization, and which mails about them were written."""

    organization = models.OneToOneField(Organization, models.CASCADE, primary_key=True, related_name="+")
    due_at = models.DateTimeField(help_text="When the gaps are looked for next.")
    gaps_since = models.DateTimeField(null=True, help_text="Since when there has been a gap at every look.")
    mailed_at = models.DateTimeField(null=True, help_text="When the last mail was written.")
    foreseen = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text="Beginnings of gaps in the next day, each with when it was first seen, null once a mail named it.",
    )

    class Meta:
        verbose_name_plural = "coverage watches"
        indexes = [models.Index(fields=["due_at"], name="coverage_watch_due")]

    def __str__(self) -> str:
        return f"coverage of {self.organization_id}"
