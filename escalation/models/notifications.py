"""Notifications, the outbox of messages to people; and when the next bundle goes out over each contact method."""

import uuid
from datetime import datetime
from typing import Final

from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce

from accounts.models.contact_methods import ContactMethod, Priority, masked_address
from accounts.models.groups import Group
from accounts.models.organizations import Organization
from accounts.models.users import User
from alerting.models.alerts import Alert
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.mail import STORED

# Added to a notification's urgency once a try failed; above all urgencies, so that every first try goes before.
RETRIED: Final = 3


class Notification(models.Model):
    """One message to one person, or to a shared contact of a group: a row to be sent, and its result."""

    class Kind(models.TextChoices):
        """Why they are notified."""

        PAGE = "page", "Alert"
        LAST_RESORT = "last_resort", "Last resort"
        RECOVERY = "recovery", "Recovery"
        NOTICE = "notice", "Notice"
        ASSIGNMENT = "assignment", "Assigned to you"
        REMINDER = "reminder", "Reminder of an alert that was taken"

    class Urgency(models.IntegerChoices):
        """Which messages are sent first if more are due than can be sent at once."""

        FIRST = 0, "Nobody has been notified of the alert yet"
        FURTHER = 1, "A further page"
        NEWS = 2, "A recovery or a notice"

    class Status(models.TextChoices):
        """How far the message has come."""

        PENDING = "pending", "Waiting to be sent"
        SENDING = "sending", "Being sent"
        ACCEPTED = "accepted", "Accepted by the provider"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"
        SUPERSEDED = "superseded", "Not needed any more"

    class CallState(models.TextChoices):
        """Who answered a call. Reports come in any order; a state further down in this list replaces one above it."""

        ANSWERED = "answered", "A person answered"
        NO_KEY = "no_key", "A person answered and pressed no key"
        MACHINE = "machine", "An answering machine answered"
        KEYS = "keys", "A person answered and pressed a key"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, help_text="Also the idempotency key.")
    # No constraints, as for alerting.TimelineEntry.alert: the alert, its run and its organization are locked while rows
    # are written, and a contact method that exists has its user.
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    alert = models.ForeignKey(
        Alert, models.CASCADE, null=True, related_name="notifications", db_index=False, db_constraint=False
    )
    run = models.ForeignKey(
        EscalationRun, models.CASCADE, null=True, related_name="+", db_index=False, db_constraint=False
    )
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.PAGE)
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="notifications", db_constraint=False)
    group = models.ForeignKey(
        Group,
        models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
        help_text="The group whose shared contact is notified; empty: a person is notified.",
    )
    contact_method = models.ForeignKey(ContactMethod, models.SET_NULL, null=True, related_name="+")
    channel = models.CharField(max_length=10, help_text="As ContactMethod.kind.")
    label = models.CharField(max_length=40)
    address = models.CharField(max_length=2_000, help_text="As it was when the message was written.")
    step = models.PositiveIntegerField(default=0, help_text="The EscalationRun.step that wrote it.")
    retry = models.PositiveSmallIntegerField(
        default=0, help_text="0: the first page; 1 and above: the retries of the step."
    )
    repeat = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="0: the first message; 1 and above: the repeats that the contact method's owner wants.",
    )
    urgency = models.PositiveSmallIntegerField(
        choices=Urgency.choices,
        default=Urgency.FURTHER,
        db_default=Urgency.FURTHER,
        help_text="The urgency when it was first due. A page that replaces a failed one has the urgency of that. "
        "RETRIED is added once a try failed, so that all first tries go first.",
    )
    priority_rank = models.PositiveSmallIntegerField(
        default=2,
        db_default=2,
        help_text="The priority of its alert: 0 is Critical, 4 is None; a last resort is Critical.",
    )
    asked_for = models.BooleanField(
        default=False,
        db_default=False,
        help_text="A person asked for it: it is sent even while somebody has the alert.",
    )
    in_time = models.BooleanField(
        default=True,
        db_default=True,
        help_text="It is used before the walk goes on; otherwise it reaches nobody until it arrives.",
    )
    subject = models.CharField(max_length=300, blank=True, help_text="The subject of a notice that has no alert.")
    text = models.TextField(
        blank=True, help_text="The text of a notice that has no alert, or why somebody gets a page."
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    message_id = models.UUIDField(
        null=True,
        blank=True,
        help_text="The message that carries it: its own id if it travels alone, that of the bundle otherwise. It "
        "stays the same when the message is sent again; empty until the first try.",
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField(null=True, help_text="When it is due to be sent, or when its lease ends.")
    accepted_at = models.DateTimeField(null=True, blank=True)
    possibly_sent_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When a try began whose result is not known yet, or never will be. Empty if the message surely "
        "was not sent; accepted_at says when a provider accepted it.",
    )
    limited_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When a rate limit first held it back; it is sent with the other messages that wait for that limit.",
    )
    failing_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since when its tries have failed in a row; after a minute it counts only once it is accepted.",
    )
    expedited_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When it was last tried before its pause was over, because its channel worked again.",
    )
    unknown_outcomes = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="Tries after which nobody knows whether the message was accepted. After the second it is not "
        "sent again.",
    )
    about_failing = models.BooleanField(
        default=False,
        db_default=False,
        help_text="It is a notice about failing contact methods. If its own address is refused, no contact method "
        "is marked.",
    )
    provider_id = models.CharField(max_length=200, blank=True)
    call_state = models.CharField(
        max_length=10,
        choices=CallState.choices,
        blank=True,
        default="",
        db_default="",
        help_text="Of a call: who answered. Empty: nobody answered, or the provider does not say.",
    )
    # STORED if a mail was only stored, because no mail server is set up.
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "kind", "step", "contact_method", "retry", "repeat"],
                name="notification_once",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "sending"], next_attempt_at__isnull=False)
                | Q(status__in=["accepted", "delivered", "failed", "superseded"], next_attempt_at__isnull=True),
                name="notification_due_while_unsent",
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True) | Q(user__isnull=True, group__isnull=False),
                name="notification_to_one",
            ),
        ]
        indexes = [
            # For the delivery tick: what is due or has lost its worker, the most urgent of each channel first.
            models.Index(
                fields=["channel", "urgency", "priority_rank", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="notification_due_by_priority",
            ),
            # For bundles: what waits for a bundle window, and what travels in one message.
            models.Index(
                fields=["contact_method", "kind", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False, message_id__isnull=True),
                name="notification_for_bundle_window",
            ),
            models.Index(fields=["message_id"], condition=Q(message_id__isnull=False), name="notification_by_message"),
            # What is being sent now, so that a slow provider gets only its share of the senders. The second condition
            # is always true: it keeps other statements about messages being sent, which have better indexes, from this.
            models.Index(
                fields=["channel", "next_attempt_at"],
                condition=Q(status="sending", attempts__gte=0),
                name="notification_sending",
            ),
            # What is tried again: all of a channel that works again, and what has failed for longest.
            models.Index(
                fields=["channel", "failing_since"],
                condition=Q(failing_since__isnull=False, next_attempt_at__isnull=False),
                name="notification_failing",
            ),
            # Given-up messages, which are few.
            models.Index(fields=["created_at"], condition=Q(status="failed"), name="notification_given_up"),
            # The last messages to a number: a reply that names no alert is about the newest.
            models.Index(
                "address",
                Coalesce("accepted_at", "possibly_sent_at"),
                condition=Q(channel="sms"),
                name="notification_by_number",
            ),
            # For the deletion of a group. Most notifications are to people, and not in this index.
            models.Index(fields=["group"], condition=Q(group__isnull=False), name="notification_by_group"),
            # For the usage: the messages that were accepted within some days.
            models.Index(
                fields=["organization", "accepted_at"],
                condition=Q(accepted_at__isnull=False),
                name="notification_by_time",
            ),
            # For the retention: notices, which are not deleted with an alert.
            models.Index(fields=["created_at"], condition=Q(alert__isnull=True), name="notice_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} to {self.address}"

    @property
    def was_stored(self) -> bool:
        """Return whether the message was only stored, because no mail server was set up."""
        return self.status == self.Status.ACCEPTED and self.last_error == STORED

    @property
    def held_until(self) -> datetime | None:
        """Return until about when a rate limit holds the message back; None if none does."""
        return self.next_attempt_at if self.limited_since and self.status == self.Status.PENDING else None

    @property
    def retried_at(self) -> datetime | None:
        """When it is tried again after a failure; None: it does not fail, or is being sent just now."""
        return self.next_attempt_at if self.failing_since and self.status == self.Status.PENDING else None

    @property
    def is_pressing(self) -> bool:
        """Return whether it may use what limits keep free: what asks for somebody, with priority Critical or High."""
        news = self.kind in {self.Kind.RECOVERY, self.Kind.NOTICE}
        return self.priority_rank <= Priority.values.index(Priority.HIGH) and not news

    @property
    def recipient(self) -> User | Group:
        """Return whom it is to; the database holds that there is one."""
        recipient = self.user or self.group
        assert recipient is not None  # noqa: S101 - for the type alone
        return recipient

    @property
    def addressee(self) -> str:
        """Return whom it is to, and over what, as the timeline says it."""
        if self.group is not None:
            return f"{self.label} {masked_address(self.channel, self.address)} of {self.group}"
        return f"{self.user} ({self.label})"


class BundleWindow(models.Model):
    """When the next message goes out over one contact method: messages that come while it is closed wait, and then go
    out together.

    There is one row for each contact method and kind of notification. The row is also the lock: its holder decides for
    all messages that wait here.
    """

    contact_method = models.ForeignKey(ContactMethod, models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12, choices=Notification.Kind.choices)
    closed_until = models.DateTimeField(null=True, blank=True, help_text="Empty: nothing was sent yet.")

    class Meta:
        verbose_name_plural = "bundle windows"
        constraints = [models.UniqueConstraint(fields=["contact_method", "kind"], name="bundle_window_once")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} over {self.contact_method}"


# Kinds of messages that ask their reader to do something; recoveries and notices only inform.
TO_OWNER = (Notification.Kind.ASSIGNMENT, Notification.Kind.REMINDER)
BY_ESCALATION = (Notification.Kind.PAGE, Notification.Kind.LAST_RESORT)
ASKING = (*BY_ESCALATION, *TO_OWNER)
