"""Inbound events other than pings: how integrations read them, the events as they arrived, and what is kept by key."""

from decimal import Decimal

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q, Value

from accounts.models.organizations import Organization
from heartbeat_project.kernel.fields import MinutesColumn
from integrations.models.integrations import InboundIntegration


def no_delay() -> dict[str, str]:
    """Return the delay of integrations whose events open alerts at once."""
    return {"mode": "none"}


class EventSettings(models.Model):
    """How an API, Email or Chat integration turns events into alerts; docs/integrations/ describes the fields."""

    class NoRule(models.TextChoices):
        """What becomes of an event that no rule matches, if there are rules."""

        CONTINUE = "continue", "Its status decides"
        IGNORE = "ignore", "It is ignored"

    integration = models.OneToOneField(
        InboundIntegration, models.CASCADE, primary_key=True, related_name="event_settings"
    )
    allow_get = models.BooleanField(default=False)
    preset = models.CharField(max_length=30, default="auto")
    mapping = models.JSONField(default=dict, help_text="Templates by field.")
    status_words = models.JSONField(default=dict, help_text="Lists of exact words by action.")
    rules = models.JSONField(default=list)
    no_rule = models.CharField(max_length=10, choices=NoRule.choices, default=NoRule.CONTINUE)
    delay = models.JSONField(default=no_delay)
    group_minutes = MinutesColumn(default=Decimal(0), db_default=Value(Decimal(0)))
    auto_close_minutes = MinutesColumn(default=Decimal(0), db_default=Value(Decimal(0)))
    storm_per_minute = models.PositiveIntegerField(
        default=60, help_text="Alerts that may open in a minute; further ones stand in one alert. 0: no limit."
    )
    signature = models.JSONField(null=True, blank=True, help_text="How senders prove themselves, with the secret.")
    # Those of Email integrations.
    aliases = models.JSONField(
        default=list, db_default=Value([], models.JSONField()), help_text="Further addresses, in lower case."
    )
    sequence = models.PositiveIntegerField(
        default=1, db_default=1, help_text="Integrations with the same alias are tried in this order."
    )
    every_mail_opens = models.BooleanField(default=False, db_default=False)
    allowed_senders = models.JSONField(
        default=list, db_default=Value([], models.JSONField()), help_text="Addresses, or @domain, in lower case."
    )
    require_authenticated = models.BooleanField(default=False, db_default=False)
    extract = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text="Where fields stand in a mail: between two texts, or in the first group of a regular expression.",
    )

    class Meta:
        verbose_name_plural = "event settings"
        # Serves the search for the integrations of an address.
        indexes = [GinIndex(fields=["aliases"], opclasses=["jsonb_path_ops"], name="event_settings_aliases")]

    def __str__(self) -> str:
        return f"event settings of {self.integration_id}"


class EventState(models.Model):
    """What changes with the events of an integration. Its row is locked while an event is carried out."""

    integration = models.OneToOneField(InboundIntegration, models.CASCADE, primary_key=True, related_name="event_state")
    event_count = models.BigIntegerField(default=0)
    rejected_count = models.BigIntegerField(default=0)
    last_event_at = models.DateTimeField(null=True)
    last_rejected_at = models.DateTimeField(null=True)
    last_rejected_from = models.GenericIPAddressField(null=True)
    fault = models.JSONField(null=True, help_text="at, event, field and text of the newest event, if it had a fault.")
    fault_noticed_at = models.DateTimeField(
        null=True, help_text="When those who manage it were last mailed of a fault."
    )
    minute = models.DateTimeField(null=True, help_text="The start of the minute in which alerts are counted.")
    opened_in_minute = models.PositiveIntegerField(default=0)
    storm_alert_id = models.BigIntegerField(null=True, help_text="The alert that takes what comes beyond the limit.")
    group_alert_id = models.BigIntegerField(null=True, help_text="The alert that other keys may join.")
    group_ends_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"event state of {self.integration_id}"


class EventKey(models.Model):
    """What is kept of a key besides its alert: that an open waits for its delay, and when the sender closed it."""

    integration = models.ForeignKey(
        InboundIntegration, models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    key_hash = models.CharField(max_length=64)
    changed_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, help_text="The sender's time of the newest close.")
    waiting = models.JSONField(null=True, help_text="The newest event that waits, mapped.")
    waiting_since = models.JSONField(default=list, help_text="When the events came that wait.")
    due_at = models.DateTimeField(null=True, help_text="When an alert opens unless a close comes before.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration", "key_hash"], name="event_key_once")]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="event_key_due"),
            models.Index(fields=["integration", "due_at"], condition=Q(due_at__isnull=False), name="event_key_due_of"),
            models.Index(fields=["changed_at"], name="event_key_age"),
        ]

    def __str__(self) -> str:
        return f"key of {self.integration_id}"


class InboundEvent(models.Model):
    """A request, mail or chat message as it arrived, kept with its result; the table is partitioned by day."""

    class State(models.TextChoices):
        """Whether it was read."""

        WAITING = "waiting", "Waiting to be read"
        READ = "read", "Read"
        UNREADABLE = "unreadable", "Could not be read"

    type = models.CharField(max_length=10, choices=InboundIntegration.Type.choices)
    # No constraints, as for alerting.TimelineEntry.alert.
    integration = models.ForeignKey(
        InboundIntegration,
        models.CASCADE,
        null=True,
        related_name="inbound_events",
        db_index=False,
        db_constraint=False,
        help_text="Empty for a mail to the reply address.",
    )
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        help_text="The organization whose message its headers name; empty if they name none.",
    )
    answers = models.UUIDField(null=True, help_text="The message of ours that its headers name.")
    turn = models.BigIntegerField(
        default=0, db_default=0, help_text="Lower turns are read first; those of one organization all differ."
    )
    received_at = models.DateTimeField()
    headers = models.JSONField(default=dict, help_text="The headers that its page shows, cut to 300 characters.")
    query = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text="The parameters of its address.",
    )
    source = models.CharField(
        max_length=100, blank=True, default="", db_default="", help_text="The last segment of its address."
    )
    external_id = models.CharField(
        max_length=200, blank=True, default="", db_default="", help_text="The sender's id, by which replays are found."
    )
    raw = models.BinaryField(help_text="As it arrived.")
    size = models.IntegerField(help_text="Of `raw`, in bytes.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    attempts = models.SmallIntegerField(default=0, help_text="How often a worker began to read it.")
    claimed_until = models.DateTimeField(null=True, help_text="No worker may claim it before this time.")
    content = models.JSONField(null=True, help_text="What was read in a mail; null for other events.")
    result = models.JSONField(default=list, help_text="What came of each of its parts: action, alert and reason.")
    fault = models.TextField(blank=True, help_text="Why it could not be read.")

    class Meta:
        ordering = ["-id"]
        indexes = [
            # Serve the foreign keys, too.
            models.Index(fields=["integration", "-id"], name="inbound_by_integration"),
            models.Index(
                fields=["organization", "-id"], condition=Q(organization__isnull=False), name="inbound_by_organization"
            ),
            models.Index(
                fields=["attempts", "turn", "id"],
                condition=Q(state="waiting", organization__isnull=False),
                name="inbound_next",
            ),
            # Serves store_event.sql, which counts the waiting events for each mail that comes in.
            models.Index(
                fields=["organization", "turn"], include=["size"], condition=Q(state="waiting"), name="inbound_share"
            ),
            models.Index(
                fields=["answers"], condition=Q(state="waiting", answers__isnull=False), name="inbound_by_message"
            ),
            models.Index(fields=["-id"], condition=Q(state="unreadable"), name="inbound_unreadable"),
            models.Index(
                fields=["integration", "external_id"], condition=~Q(external_id=""), name="inbound_by_external_id"
            ),
        ]

    def __str__(self) -> str:
        return str(self.headers.get("subject") or f"{self.get_type_display()} {self.pk}")
