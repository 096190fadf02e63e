"""Escalation runs."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from alerting.models.alerts import Alert
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.fields import MinutesColumn


class EscalationRun(models.Model):
    """The escalation of one alert: what it follows, where it is, when it goes on."""

    class Review(models.TextChoices):
        """What is done at `review_at` with an alert that somebody has; see escalation.engine.review_times."""

        REMIND = "remind", "Remind whoever has it"
        REOPEN = "reopen", "Open it again: no answer to the reminder"
        HANDED = "handed", "Open it again: whom it was assigned to took no action"
        HOLD_ENDS = "hold_ends", "Open it again: the hold ends"

    # No constraints, as for alerting.TimelineEntry.alert. The policy or play is copied into the run, so that it may be
    # deleted at any time.
    alert = models.OneToOneField(Alert, models.CASCADE, related_name="run", db_constraint=False)
    policy = models.ForeignKey(
        EscalationPolicy, models.SET_NULL, null=True, related_name="+", db_index=False, db_constraint=False
    )
    play = models.ForeignKey(
        ResponsePlay, models.SET_NULL, null=True, related_name="+", db_index=False, db_constraint=False
    )
    name = models.CharField(max_length=200, help_text="The name that the policy or play had.")
    version = models.PositiveIntegerField(help_text="The version of the policy or play.")
    plan = models.JSONField(help_text="escalation.engine.plan.Plan as it was when the alert opened.")
    position = models.JSONField(help_text="escalation.engine.walk.Position: what was done and what comes next.")
    acknowledge_stops = models.BooleanField(default=False)
    recovery_notice = models.BooleanField(default=True)
    disabled_actions = ArrayField(
        models.CharField(max_length=30), default=list, db_default=[], help_text="As in the policy."
    )
    reopen_after_minutes = MinutesColumn(db_default=0, help_text="As in the policy or play.")
    step = models.PositiveIntegerField(default=0, help_text="Counts the moments at which somebody was notified.")
    next_step_at = models.DateTimeField(null=True, help_text="Empty: no further step follows.")
    parked = models.BooleanField(
        default=False, help_text="It was due while its alert was not open; it goes on when the alert is open again."
    )
    begun_at_step = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="The `step` at which the walk last began anew, or its alert was opened again: people notified in"
        " it or before do not count as reached.",
    )
    last_resort_at = models.DateTimeField(null=True, help_text="When the Owners and App Admins were notified instead.")
    error = models.TextField(blank=True, help_text="Why the last try to go on failed; the engine tries again.")
    acted_at = models.DateTimeField(null=True, help_text="When a person last did something with the alert.")
    review = models.CharField(max_length=10, choices=Review.choices, blank=True, default="", db_default="")
    review_at = models.DateTimeField(null=True, help_text="Empty: nobody has the alert, or nobody is to be reminded.")
    reopened_at = models.DateTimeField(
        null=True, help_text="When the alert was last opened again because nobody answered."
    )

    class Meta:
        indexes = [
            # For the engine's tick: the runs that are due, however many are parked; and the parked ones by alert.
            models.Index(
                fields=["next_step_at"],
                condition=Q(next_step_at__isnull=False, parked=False),
                name="run_due",
            ),
            models.Index(fields=["alert"], condition=Q(parked=True), name="run_parked"),
            models.Index(fields=["review_at"], condition=Q(review_at__isnull=False), name="run_review"),
            models.Index(fields=["policy"], condition=Q(policy__isnull=False), name="run_by_policy"),
            models.Index(fields=["play"], condition=Q(play__isnull=False), name="run_by_play"),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"
