"""Policies and plays: the rules by which people are notified."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.models.contact_methods import Priority
from accounts.models.groups import Group, GroupRole
from accounts.models.organizations import Organization
from accounts.models.users import User
from escalation.models import channel_actions
from escalation.models.nights import NIGHT_BEGINS
from heartbeat_project.kernel.fields import MinutesColumn


class EscalationPolicy(models.Model):
    """A timed walk through the member roles of the recipient groups."""

    class NotifyUsing(models.TextChoices):
        """Whose settings decide over which contact methods a person is notified."""

        USER = "user", "User (each person's own contact methods)"
        CENTRALIZED = "centralized", "Centralized (the policy's contact methods)"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="escalation_policies")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    priority = models.CharField(max_length=10, choices=Priority.choices, default=Priority.HIGH)
    enabled = models.BooleanField(default=True)
    quick_launch = models.BooleanField(
        default=False, help_text="People may choose it for alerts that they send by hand."
    )
    notify_using = models.CharField(max_length=12, choices=NotifyUsing.choices, default=NotifyUsing.USER)
    next_group_wait_minutes = MinutesColumn(
        help_text="Wait before each further recipient group; 0: all groups at once."
    )
    acknowledge_stops = models.BooleanField(default=False, help_text="An acknowledgement stops the escalation.")
    recovery_notice = models.BooleanField(
        default=True, help_text="When the heartbeat recovers, notify everybody who was notified of its alert."
    )
    repeats = models.PositiveSmallIntegerField(default=0, help_text="How often the whole escalation is repeated.")
    reopen_after_minutes = MinutesColumn(
        db_default=0,
        help_text="A taken alert's owner is reminded after this time without an action; 0: never. A new Critical "
        "rule reminds after 60 minutes unless it says otherwise.",
    )
    low_waits_until = models.TimeField(
        null=True,
        blank=True,
        help_text="Alerts of priority Low and None wake nobody: messages due between 22:00 and this time of day, "
        "by their reader's clock, wait until then. Empty: nothing waits.",
    )
    disabled_actions = ArrayField(
        models.CharField(max_length=30),
        default=list,
        db_default=[],
        blank=True,
        help_text="Actions that messages over a channel do not allow, each as channel:action.",
    )
    version = models.PositiveIntegerField(
        default=1, help_text="Counts the edits; a run records the version that it follows."
    )

    class Meta:
        ordering = ["name", "id"]
        verbose_name_plural = "escalation policies"
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="policy_name_unique"),
            models.CheckConstraint(condition=Q(low_waits_until__lt=NIGHT_BEGINS), name="policy_low_waits_for_morning"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def allowed_actions(self) -> dict[str, list[str]]:
        """Return the actions that a message over each channel allows."""
        return channel_actions.matrix(self.disabled_actions)


class PolicyRole(models.Model):
    """How one group role is notified: one row for each role that the policy uses."""

    policy = models.ForeignKey(EscalationPolicy, models.CASCADE, related_name="roles")
    role = models.CharField(max_length=10, choices=GroupRole.choices)
    wait_minutes = MinutesColumn(help_text="Wait after the role before, until this role is notified.")
    between_members_minutes = MinutesColumn(
        help_text="0: all members are notified at once; above 0: one after another."
    )
    retries = models.PositiveSmallIntegerField(default=0, help_text="N retries make N + 1 notifications.")
    retry_interval_minutes = MinutesColumn(default=5)
    contact_labels = ArrayField(
        models.CharField(max_length=40),
        default=list,
        blank=True,
        help_text="Only if centralized: labels such as Email-Official; empty means every method.",
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "role"], name="policy_role_once"),
            models.CheckConstraint(condition=Q(retries=0) | Q(retry_interval_minutes__gt=0), name="retries_need_time"),
        ]

    def __str__(self) -> str:
        return self.get_role_display()


class ResponsePlay(models.Model):
    """Timed tiers of named users and groups."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="response_plays")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    priority = models.CharField(max_length=10, choices=Priority.choices, default=Priority.HIGH)
    enabled = models.BooleanField(default=True)
    recovery_notice = models.BooleanField(
        default=True, help_text="When the heartbeat recovers, notify everybody who was notified of its alert."
    )
    reopen_after_minutes = MinutesColumn(
        db_default=0,
        help_text="A taken alert's owner is reminded after this time without an action; 0: never. A new Critical "
        "rule reminds after 60 minutes unless it says otherwise.",
    )
    low_waits_until = models.TimeField(
        null=True,
        blank=True,
        help_text="Alerts of priority Low and None wake nobody: messages due between 22:00 and this time of day, "
        "by their reader's clock, wait until then. Empty: nothing waits.",
    )
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="play_name_unique"),
            models.CheckConstraint(condition=Q(low_waits_until__lt=NIGHT_BEGINS), name="play_low_waits_for_morning"),
        ]

    def __str__(self) -> str:
        return self.name


class PlayTier(models.Model):
    """The users and groups who are notified a number of minutes after the alert opened."""

    play = models.ForeignKey(ResponsePlay, models.CASCADE, related_name="tiers")
    offset_minutes = MinutesColumn(help_text="Minutes from the opening of the alert.")
    users = models.ManyToManyField(User, blank=True, related_name="+")
    groups = models.ManyToManyField(Group, blank=True, related_name="+")

    class Meta:
        ordering = ["offset_minutes", "id"]
        constraints = [models.UniqueConstraint(fields=["play", "offset_minutes"], name="tier_offset_once")]

    def __str__(self) -> str:
        return f"{self.play}, after {self.offset_minutes} min"
