"""Alerts, their recipients and their timelines."""

from datetime import datetime, timedelta
from typing import Final

from django.db import models
from django.db.models import Q

from accounts.models.contact_methods import Priority
from accounts.models.groups import Group
from accounts.models.organizations import Organization
from accounts.models.users import User
from alerting.models.bridges import Bridge
from alerting.states import LIVE, STOPPED

# A test closes by itself after this time, so that a forgotten one does not wake people all night.
TEST_LASTS: Final = timedelta(hours=1)


# The source of alerts that people open by hand; their source name is the person.
BY_HAND: Final = "Manual"


class Alert(models.Model):
    """An alert, opened by a miss, an event or a person. People are notified of it until somebody takes it."""

    class Status(models.TextChoices):
        """The states of alerting.states.Status, with their labels."""

        OPEN = "open", "Open"
        ASSIGNED = "assigned", "Assigned"
        ON_HOLD = "on_hold", "On Hold"
        CLOSED = "closed", "Closed"
        CANCELLED = "cancelled", "Cancelled"

    # No foreign key constraint, whose checks would slow down a storm of thousands of alerts. Organizations are never
    # deleted.
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
        help_text='The facts of the text, each {"label", "text"} or {"label", "at": RFC 3339}.',
    )
    source = models.CharField(
        max_length=100, help_text="Heartbeat, Manual or Test, or the sender's system, such as Alertmanager or API."
    )
    source_name = models.CharField(max_length=200)
    source_id = models.CharField(max_length=200)
    integration_id = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="The inbound integration. If it is deleted, the alert stays.",
    )
    # Which alerts an integration closes is decided by this, and never by `source`, which a sender may choose.
    integration_type = models.CharField(
        max_length=10, blank=True, default="", db_default="", help_text="Empty if a person or a test opened it."
    )
    key_hash = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="SHA-256 of source, source name and source id, by which events find the alert.",
    )
    url = models.TextField(blank=True, default="", db_default="", help_text="Where the sender shows the problem.")
    event_count = models.PositiveIntegerField(
        default=0, db_default=0, help_text="How many events came to it; 0 for alerts that no event opened."
    )
    last_event_at = models.DateTimeField(null=True, blank=True, help_text="When the newest event came to it.")
    closes_at = models.DateTimeField(
        null=True, blank=True, help_text="When it closes by itself unless another event comes to it."
    )
    expected_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="The deadline that passed. Each deadline opens at most one alert.",
    )
    is_test = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Whether it only tests who is notified. Tests close by themselves and are not in any statistics.",
    )
    # The foreign keys below are null in most alerts, so their indexes are partial ones in Meta: full ones would slow
    # down a storm.
    bridge = models.ForeignKey(Bridge, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False)
    bridge_copy = models.JSONField(
        null=True,
        blank=True,
        help_text="The fields of the bridge as they were when the alert opened. They stay when it is deleted.",
    )
    owner = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="owned_alerts", db_index=False)
    opened_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True, help_text="When it was first acknowledged.")
    acknowledged_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False)
    assigned_at = models.DateTimeField(null=True, blank=True, help_text="When it was first assigned.")
    hold_until = models.DateTimeField(
        null=True, blank=True, help_text="When the hold ends. Empty: when somebody resumes the alert."
    )
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When it was closed or cancelled.")
    close_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["integration_id"],
                condition=Q(status__in=sorted(LIVE), integration_type="heartbeat"),
                name="one_live_alert_per_heartbeat",
            ),
            models.UniqueConstraint(
                fields=["integration_id", "key_hash"],
                condition=Q(status__in=sorted(LIVE)) & ~Q(key_hash=""),
                name="one_live_alert_per_key",
            ),
            models.UniqueConstraint(fields=["integration_id", "expected_at"], name="one_alert_per_silence"),
            # Its index also finds the tests that are to be closed.
            models.UniqueConstraint(
                fields=["integration_id"],
                condition=Q(status__in=sorted(LIVE), is_test=True),
                name="one_live_test_per_integration",
            ),
            models.CheckConstraint(
                condition=Q(status__in=sorted(LIVE), closed_at__isnull=True)
                | Q(status__in=["closed", "cancelled"], closed_at__isnull=False),
                name="closed_at_notifies_final",
            ),
            models.CheckConstraint(
                condition=~Q(status="assigned") | Q(owner__isnull=False, assigned_at__isnull=False),
                name="assigned_has_owner",
            ),
        ]
        indexes = [
            # Also serves the foreign key `organization`.
            models.Index(fields=["organization", "status", "-id"], name="alert_by_status"),
            models.Index(fields=["integration_id", "-id"], name="alert_by_integration"),
            # For the usage, and for lists of what opened within some days.
            models.Index(fields=["organization", "opened_at"], name="alert_by_time"),
            models.Index(fields=["id"], condition=Q(status="open"), name="alert_open"),
            # Costs a storm nothing, since new alerts are open. Each alert enters it when somebody takes it.
            models.Index(fields=["status"], condition=Q(status__in=sorted(STOPPED)), name="alert_stopped"),
            models.Index(fields=["bridge"], condition=Q(bridge__isnull=False), name="alert_by_bridge"),
            models.Index(
                fields=["closes_at"],
                condition=Q(status__in=sorted(LIVE), closes_at__isnull=False),
                name="alert_closes_by_itself",
            ),
            # Finds the alerts that the retention deletes.
            models.Index(fields=["closed_at"], condition=Q(closed_at__isnull=False), name="alert_by_end"),
            models.Index(fields=["owner"], condition=Q(owner__isnull=False), name="alert_by_owner"),
            models.Index(
                fields=["acknowledged_by"], condition=Q(acknowledged_by__isnull=False), name="alert_by_acknowledger"
            ),
        ]

    def __str__(self) -> str:
        return self.subject

    @property
    def bridge_or_copy(self) -> Bridge | None:
        """Return the bridge as it is now while the alert is live, otherwise as it was when the alert opened.

        People who work on an alert need a corrected number; afterwards the alert shows what it had.
        """
        if self.bridge_copy is None or (self.bridge is not None and self.status in LIVE):
            return self.bridge
        return Bridge(**self.bridge_copy)

    @property
    def known_as(self) -> str:
        """Return the name of the alert for people: that of its heartbeat, otherwise its subject."""
        return self.subject if self.source == BY_HAND or self.key_hash else self.source_name

    @property
    def recovers(self) -> bool:
        """Whether the alert closes by itself when the signal comes back."""
        return self.integration_type == "heartbeat"

    @property
    def ends_when(self) -> str:
        """The event that closes the alert by itself, as the end of a sentence; "" if there is none."""
        if self.is_test:
            return "the test ends"
        if self.recovers:
            return "the signal comes back"
        return f"{self.source_name} closes it" if self.key_hash else ""

    @property
    def minutes_to_assign(self) -> float | None:
        """Minutes from the opening until it was first assigned, to a tenth; None if it never was."""
        return self._minutes_until(self.assigned_at)

    @property
    def minutes_to_resolve(self) -> float | None:
        """Minutes from the opening until it was closed or cancelled, to a tenth; None while it is live."""
        return self._minutes_until(self.closed_at)

    def _minutes_until(self, at: datetime | None) -> float | None:
        return None if at is None else round((at - self.opened_at).total_seconds() / 60, 1)

    @property
    def test_ends_at(self) -> datetime | None:
        """When a test closes by itself; None for other alerts."""
        return self.opened_at + TEST_LASTS if self.is_test else None


class AlertRecipient(models.Model):
    """A group or user to whom the alert is addressed or who was notified of it. It decides who may see the alert."""

    # No foreign key constraints, for the sake of storms. A row whose group or user was deleted at the same time does
    # no harm: nobody sees anything by it.
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


class AlertMember(models.Model):
    """One of several problems that stand in one alert, each with a state of its own.

    Events with its key find the alert of a member, unless its key is empty: such members were listed by the sender
    within one event.
    """

    # No constraint, as for TimelineEntry.alert.
    alert = models.ForeignKey(Alert, models.CASCADE, related_name="members", db_index=False, db_constraint=False)
    integration_id = models.BigIntegerField()
    key_hash = models.CharField(max_length=64, blank=True, default="", db_default="", help_text="As that of an alert.")
    source_id = models.CharField(max_length=200)
    subject = models.CharField(max_length=300)
    is_open = models.BooleanField(default=True)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    event_count = models.PositiveIntegerField(default=1)
    last_event_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["alert", "source_id"], name="member_once"),
        ]
        indexes = [
            models.Index(
                fields=["integration_id", "key_hash"],
                condition=Q(is_open=True) & ~Q(key_hash=""),
                name="open_member_by_key",
            ),
        ]

    def __str__(self) -> str:
        return self.subject


class TimelineEntry(models.Model):
    """One event of an alert."""

    class Kind(models.TextChoices):
        """The kinds of events, with the labels that people read."""

        OPENED = "opened", "Opened"
        NOTIFIED = "notified", "Notification"
        NOTIFICATION_FAILED = "notification_failed", "Notification failed"
        SKIPPED = "skipped", "Step skipped"
        LAST_RESORT = "last_resort", "Last resort"
        ESCALATION_ENDED = "escalation_ended", "Escalation ended"
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
        UPDATED = "updated", "Updated"
        MEMBER = "member", "Member"
        STORM = "storm", "Storm"

    # No foreign key constraint, for the sake of storms. An entry is written only in a transaction that locks its alert.
    alert = models.ForeignKey(Alert, models.CASCADE, related_name="timeline", db_index=False, db_constraint=False)
    at = models.DateTimeField()
    kind = models.CharField(max_length=24, choices=Kind.choices)
    actor = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False)
    text = models.TextField(help_text="One sentence for people.")
    via = models.CharField(
        max_length=10,
        blank=True,
        default="",
        db_default="",
        help_text="The channel over which a person acted; see alerting.via.",
    )
    how = models.TextField(
        blank=True, default="", db_default="", help_text="The channel for people, such as “by the link in an e-mail”."
    )

    class Meta:
        ordering = ["at", "id"]
        indexes = [
            models.Index(fields=["alert", "at", "id"], name="timeline_by_alert"),
            models.Index(fields=["actor"], condition=Q(actor__isnull=False), name="timeline_by_actor"),
        ]

    def __str__(self) -> str:
        return self.text

    @property
    def sentence(self) -> str:
        """Return the text with the channel: “Acknowledged by Ben (by SMS).”"""
        return f"{self.text.removesuffix('.')} ({self.how})." if self.how else self.text
