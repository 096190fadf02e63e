"""Inbound integrations: sources of alerts, and the rule by which people are notified of them."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Lower

from accounts.models.contact_methods import Priority
from accounts.models.groups import Group
from accounts.models.organizations import Organization
from accounts.models.users import User
from alerting.models.bridges import Bridge
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.ids import MAIL_TOKEN_LENGTH, new_mail_token, new_token


class InboundIntegration(models.Model):
    """The configuration of a source of alerts, whatever its type."""

    class Type(models.TextChoices):
        """The types, in the order of the drop-down."""

        API = "api", "API"
        EMAIL = "email", "Email"
        CHAT = "chat", "Chat"
        HEARTBEAT = "heartbeat", "Heartbeat"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="integrations")
    type = models.CharField(max_length=10, choices=Type.choices, default=Type.HEARTBEAT)
    name = models.CharField("Integration Name", max_length=200)
    token = models.CharField(max_length=64, unique=True, default=new_token, help_text="The secret of the API URL.")
    mail_token = models.CharField(
        max_length=MAIL_TOKEN_LENGTH,
        unique=True,
        default=new_mail_token,
        # For rows that SQL inserts: 98 random bits.
        db_default=RawSQL("substr(translate(replace(gen_random_uuid()::text, '-', ''), '0189', 'ghij'), 1, 26)", ()),
        help_text="The secret of the mail address, in lower case.",
    )
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
    tags = ArrayField(
        models.CharField(max_length=100),
        blank=True,
        default=list,
        db_default=Value([], ArrayField(models.CharField(max_length=100))),
        help_text="name or name:value, in lower case and in order.",
    )
    description = models.TextField(blank=True, default="", db_default="")
    priority = models.CharField(
        max_length=8,
        null=True,
        blank=True,
        choices=Priority.choices,
        help_text="Of its alerts, unless their event or a rule says another; empty: that of the policy or play.",
    )
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
        # The order of lists: without it, each page of a list sorts all integrations.
        indexes = [
            models.Index(fields=["organization", "name", "id"], name="integration_by_name"),
            GinIndex(fields=["tags"], name="integration_by_tag"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_heartbeat(self) -> bool:
        """Whether it has a timer; integrations of other types have event settings."""
        return self.type == self.Type.HEARTBEAT

    @property
    def noun(self) -> str:
        """What texts call it."""
        return "heartbeat" if self.is_heartbeat else "integration"


class FormerToken(models.Model):
    """A token that was replaced by another and still works for a while."""

    MAIL = "mail:"  # no URL has a colon in its token

    token = models.CharField(max_length=64, primary_key=True, help_text="That of a mail address has MAIL before it.")
    integration = models.ForeignKey(InboundIntegration, models.CASCADE, related_name="former_tokens")
    ends_at = models.DateTimeField(help_text="From then on, pings to it are answered 404.")

    class Meta:
        indexes = [models.Index(fields=["ends_at"], name="former_token_by_end")]

    def __str__(self) -> str:
        return f"former token of {self.integration_id}"
