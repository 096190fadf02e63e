"""The periods in which a heartbeat was not simply healthy: what its history is made of."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from integrations.models.integrations import InboundIntegration


class StatePeriod(models.Model):
    """A time in which a heartbeat was silent, waited, was disabled or in maintenance; all other time it was healthy.

    Only changes are stored, never minutes, and nothing with a ping: a period that a ping ended is given its end soon
    afterwards, see availability/periods.py.
    """

    class Kind(models.TextChoices):
        """Why it was not healthy. The first three are states of heartbeats."""

        MISSED = "missed", "Silent"
        WAITING = "waiting", "Waiting for the first ping"
        DISABLED = "disabled", "Disabled"
        MAINTENANCE = "maintenance", "Maintenance"
        UNKNOWN = "unknown", "Before periods were stored"

    # No constraint, as for alerting.TimelineEntry.alert.
    integration = models.ForeignKey(
        InboundIntegration, models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    kind = models.CharField(max_length=11, choices=Kind.choices)
    started_at = models.DateTimeField(help_text="Of a silence: the deadline that passed.")
    ended_at = models.DateTimeField(
        null=True,
        help_text="Of a silence: the first ping after it. Of maintenance: its planned end, or when it was ended early.",
    )

    class Meta:
        constraints = [
            # Maintenance always has an end; the others follow one another.
            models.UniqueConstraint(
                fields=["integration"], condition=Q(ended_at__isnull=True), name="one_open_state_period"
            ),
        ]
        indexes = [
            # Serves the history, and the cascade of the foreign key.
            models.Index(fields=["integration", "ended_at"], name="state_period_by_end"),
            # For deleting old rows: most end in the order in which they were written, so a small index does.
            BrinIndex(fields=["ended_at"], name="state_period_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} from {self.started_at}"
