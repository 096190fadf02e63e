"""Chat integrations: how they are configured, the threads that show changes of alerts, and the outbox to platforms."""

import uuid

from django.db import models
from django.db.models import Q

from alerting.models.alerts import Alert
from integrations.models.integrations import InboundIntegration


def only_command() -> list[str]:
    """Return what opens alerts unless it is configured otherwise."""
    return ["command"]


class ChatSettings(models.Model):
    """What only a Chat integration is configured by; docs/integrations/chat.md describes the fields."""

    class Platform(models.TextChoices):
        """The platforms whose requests are understood."""

        SLACK = "slack", "Slack"
        MATTERMOST = "mattermost", "Mattermost"
        GENERIC = "generic", "Anything that can POST a text"

    class Updates(models.TextChoices):
        """Where the changes of an alert are written."""

        THREAD = "thread", "In the thread of the message that opened it"
        CHANNEL = "channel", "In the channel"
        NONE = "none", "Nowhere"

    class WhoMayOpen(models.TextChoices):
        """Who may open alerts."""

        ANYBODY = "anybody", "Anybody in the channels"
        LINKED = "linked", "Only users who have linked their chat account"

    integration = models.OneToOneField(
        InboundIntegration, models.CASCADE, primary_key=True, related_name="chat_settings"
    )
    platform = models.CharField(max_length=12, choices=Platform.choices)
    secrets = models.JSONField(default=dict, help_text="What the platform signs with, and the token of our bot.")
    api_base = models.CharField(max_length=500, blank=True, help_text="Empty: the platform's own.")
    channels = models.JSONField(default=list, help_text="Ids or names of the channels that may be used; empty: any.")
    command = models.CharField(max_length=40, default="/heartbeat", help_text="As it is called in texts.")
    open_from = models.JSONField(default=only_command, help_text="Among command, mention and message.")
    updates = models.CharField(max_length=10, choices=Updates.choices, default=Updates.THREAD)
    who_may_open = models.CharField(max_length=10, choices=WhoMayOpen.choices, default=WhoMayOpen.ANYBODY)

    class Meta:
        verbose_name_plural = "chat settings"

    def __str__(self) -> str:
        return f"chat settings of {self.integration_id}"


class ChatThread(models.Model):
    """Where the changes of an alert are written, which was opened in a chat."""

    # No constraint, as for alerting.TimelineEntry.alert.
    alert = models.OneToOneField(
        Alert, models.CASCADE, primary_key=True, related_name="chat_thread", db_constraint=False
    )
    integration = models.ForeignKey(InboundIntegration, models.CASCADE, related_name="+")
    channel = models.CharField(max_length=100, help_text="The platform's id of the channel.")
    root = models.CharField(
        max_length=100, blank=True, help_text="The platform's id of the message that the lines stand below."
    )
    seen_entry = models.BigIntegerField(default=0, help_text="The last entry of the timeline that was written there.")
    is_open = models.BooleanField(default=True, help_text="Whether more may follow.")
    created_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["alert"], condition=Q(is_open=True), name="chat_thread_open"),
            models.Index(fields=["created_at"], name="chat_thread_by_age"),
        ]

    def __str__(self) -> str:
        return f"thread of alert {self.alert_id}"


class ChatMessage(models.Model):
    """One message to a platform: a row to be sent, and its result."""

    class Kind(models.TextChoices):
        """What the message is."""

        ROOT = "root", "An alert with its buttons"
        LINE = "line", "A change of an alert"
        ANSWER = "answer", "An answer to somebody"
        WORK = "work", "A request that is carried out later, and then answered"

    id = models.BigAutoField(primary_key=True)
    key = models.UUIDField(default=uuid.uuid4, help_text="The idempotency key.")
    integration = models.ForeignKey(InboundIntegration, models.CASCADE, related_name="+", db_index=False)
    thread = models.ForeignKey(ChatThread, models.CASCADE, null=True, related_name="+", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    url = models.TextField(blank=True, help_text="The address that the platform named for its answer.")
    body = models.JSONField(help_text="The text and what it is about; of `work`, the request.")
    created_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, help_text="When it is due, or its lease ends. Empty: it is done.")
    sent_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="chat_message_due"
            ),
            # The order within a thread.
            models.Index(fields=["thread", "id"], name="chat_message_in_thread"),
            models.Index(fields=["integration", "-id"], name="chat_message_by_integration"),
            models.Index(fields=["created_at"], name="chat_message_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"
