"""Alerts, who may see them, their timeline, and bridges."""

from datetime import datetime, timedelta
from typing import Final

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.models import Group, Organization, User
from alerting.states import LIVE, STOPPED

# Nobody is to be woken all night by a test that was forgotten.
TEST_LASTS: Final = timedelta(hours=1)


class Bridge(models.Model):
    """A conference line that travels with an alert."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="bridges")
    name = models.CharField(max_length=200)
    phone_number = models.CharField(max_length=40, blank=True)
    access_code = models.CharField(max_length=40, blank=True)
    meeting_url = models.URLField(max_length=500, blank=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="bridge_name_unique"),
            models.CheckConstraint(
                condition=~Q(phone_number="") | ~Q(meeting_url=""),
                name="bridge_leads_somewhere",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Priority(models.TextChoices):
    """How much an alert matters; set by its policy or play."""

    CRITICAL = "critical", "Critical"
    HIGH = "high", "High"
    MEDIUM = "medium", "Medium"
    LOW = "low", "Low"
    NONE = "none", "None"


class Alert(models.Model):
    """What a miss opens, and what people are told about until somebody takes it."""

    class Status(models.TextChoices):
        """As alerting.states.Status, with the words people read."""

        OPEN = "open", "Open"
        ASSIGNED = "assigned", "Assigned"
        ON_HOLD = "on_hold", "On Hold"
        CLOSED = "closed", "Closed"
        CANCELLED = "cancelled", "Cancelled"

    # No constraint: an organization is never deleted, and a storm writes thousands.
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="alerts", db_index=False, db_constraint=False
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    priority = models.CharField(max_length=10, choices=Priority.choices, default=Priority.NONE)
    subject = models.CharField(max_length=300)
    short_text = models.CharField(max_length=300, help_text="For SMS and voice.")
    long_text = models.TextField(help_text="For e-mail and chat.")
    facts = models.JSONField(
        default=list,
        help_text='What the text is made of: [{"label", "text"}] or [{"label", "at": RFC 3339}].',
    )
    source = models.CharField(max_length=20, help_text="Heartbeat, API, Email, Manual or Test.")
    source_name = models.CharField(max_length=200)
    source_id = models.CharField(max_length=200)
    integration_id = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="The inbound integration; it may be deleted, the alert stays.",
    )
    expected_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="The deadline that passed; one alert for each, ever.",
    )
    is_test = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Nothing is wrong: somebody tries who is notified. Counted nowhere; it closes by itself.",
    )
    # What most alerts have not is indexed below, for those that have it: a storm writes thousands.
    bridge = models.ForeignKey(Bridge, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False)
    owner = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="owned_alerts", db_index=False)
    opened_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True, help_text="When somebody first acknowledged.")
    acknowledged_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False)
    assigned_at = models.DateTimeField(null=True, blank=True, help_text="When it was first assigned.")
    hold_until = models.DateTimeField(
        null=True, blank=True, help_text="On hold until then; empty: until somebody resumes it."
    )
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When it was closed or cancelled.")
    close_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["integration_id"],
                condition=Q(status__in=sorted(LIVE), source="Heartbeat"),
                name="one_live_alert_per_heartbeat",
            ),
            models.UniqueConstraint(fields=["integration_id", "expected_at"], name="one_alert_per_silence"),
            # Also finds the tests whose time is over.
            models.UniqueConstraint(
                fields=["integration_id"],
                condition=Q(status__in=sorted(LIVE), is_test=True),
                name="one_live_test_per_integration",
            ),
            models.CheckConstraint(
                condition=Q(status__in=sorted(LIVE), closed_at__isnull=True)
                | Q(status__in=["closed", "cancelled"], closed_at__isnull=False),
                name="closed_at_tells_final",
            ),
            models.CheckConstraint(
                condition=~Q(status="assigned") | Q(owner__isnull=False, assigned_at__isnull=False),
                name="assigned_has_owner",
            ),
        ]
        indexes = [
            # Serves the foreign key, too; so does timeline_by_alert below.
            models.Index(fields=["organization", "status", "-id"], name="alert_by_status"),
            models.Index(fields=["integration_id", "-id"], name="alert_by_integration"),
            models.Index(fields=["id"], condition=Q(status="open"), name="alert_open"),
            # Alerts come to it one by one, and a storm not at all.
            models.Index(fields=["status"], condition=Q(status__in=sorted(STOPPED)), name="alert_stopped"),
            models.Index(fields=["bridge"], condition=Q(bridge__isnull=False), name="alert_by_bridge"),
            models.Index(fields=["owner"], condition=Q(owner__isnull=False), name="alert_by_owner"),
            models.Index(
                fields=["acknowledged_by"], condition=Q(acknowledged_by__isnull=False), name="alert_by_acknowledger"
            ),
        ]

    def __str__(self) -> str:
        return self.subject

    @property
    def recovers(self) -> bool:
        """Answer whether it closes by itself, once the signal comes back."""
        return self.source == "Heartbeat"

    @property
    def ends_when(self) -> str:
        """What closes it without anybody's doing, as the end of a sentence; empty when nothing does."""
        if self.is_test:
            return "the test ends"
        return "the signal comes back" if self.recovers else ""

    @property
    def test_ends_at(self) -> datetime | None:
        """When a test closes by itself; None for what is in earnest."""
        return self.opened_at + TEST_LASTS if self.is_test else None


class AlertRecipient(models.Model):
    """A group or user the alert is addressed to, or who was told; it decides who may see the alert."""

    # No constraints: a row whose group or person was deleted in the same moment lets nobody see anything.
    alert = models.ForeignKey(Alert, models.CASCADE, related_name="recipients", db_index=False, db_constraint=False)
    group = models.ForeignKey(
        Group, models.CASCADE, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )
    user = models.ForeignKey(
        User, models.CASCADE, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(group__isnull=False, user__isnull=True) | Q(group__isnull=True, user__isnull=False),
                name="recipient_is_one",
            ),
            models.UniqueConstraint(fields=["alert", "group", "user"], nulls_distinct=False, name="recipient_once"),
        ]
        indexes = [
            models.Index(fields=["group"], condition=Q(group__isnull=False), name="recipient_by_group"),
            models.Index(fields=["user"], condition=Q(user__isnull=False), name="recipient_by_user"),
        ]

    def __str__(self) -> str:
        return str(self.group or self.user)


class TimelineEntry(models.Model):
    """One thing that happened to an alert."""

    class Kind(models.TextChoices):
        """What happened."""

        OPENED = "opened", "Opened"
        TOLD = "told", "Notification"
        TOLD_FAILED = "told_failed", "Notification failed"
        SKIPPED = "skipped", "Step skipped"
        LAST_RESORT = "last_resort", "Last resort"
        WALK_ENDED = "walk_ended", "Escalation ended"
        ACKNOWLEDGED = "acknowledged", "Acknowledged"
        ASSIGNED = "assigned", "Assigned"
        ESCALATED = "escalated", "Escalated"
        HELD = "held", "On hold"
        RESUMED = "resumed", "Resumed"
        CLOSED = "closed", "Closed"
        CANCELLED = "cancelled", "Cancelled"
        REPLIED = "replied", "Reply"
        UNACKNOWLEDGED = "unacknowledged", "No longer acknowledged"
        GIVEN_BACK = "given_back", "Given back"
        REASSIGNED = "reassigned", "Reassigned"
        RESPONDERS_ADDED = "responders_added", "Responders added"
        REMINDED = "reminded", "Reminder"
        REOPENED = "reopened", "Open again"
        RULE_CHANGED = "rule_changed", "Rule changed"

    # No constraint: a line is written for an alert that the same transaction holds, and a storm writes thousands.
    alert = models.ForeignKey(Alert, models.CASCADE, related_name="timeline", db_index=False, db_constraint=False)
    at = models.DateTimeField()
    kind = models.CharField(max_length=24, choices=Kind.choices)
    actor = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False)
    text = models.TextField(help_text="One sentence for people.")

    class Meta:
        ordering = ["at", "id"]
        indexes = [
            models.Index(fields=["alert", "at", "id"], name="timeline_by_alert"),
            models.Index(fields=["actor"], condition=Q(actor__isnull=False), name="timeline_by_actor"),
        ]

    def __str__(self) -> str:
        return self.text
