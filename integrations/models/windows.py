"""Maintenance windows, in which no alert opens."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q, Value

from accounts.models.organizations import Organization
from integrations.models.integrations import InboundIntegration


class MaintenanceWindow(models.Model):
    """A time in which no alert opens, for some integrations, for those with some tags, or for all."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="maintenance_windows")
    name = models.CharField(max_length=200)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text="Not included.")
    all_integrations = models.BooleanField(default=False)
    integrations = models.ManyToManyField(InboundIntegration, blank=True, related_name="maintenance_windows")
    tags = ArrayField(
        models.CharField(max_length=100),
        blank=True,
        default=list,
        db_default=Value([], ArrayField(models.CharField(max_length=100))),
        help_text="It covers every integration that has one of these when it begins, or gets one while it lasts.",
    )
    applied_at = models.DateTimeField(null=True, editable=False, help_text="When its heartbeats were suspended.")

    class Meta:
        ordering = ["-starts_at", "-id"]
        constraints = [models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="window_is_forward")]
        indexes = [models.Index(fields=["starts_at"], condition=Q(applied_at=None), name="window_to_apply")]

    def __str__(self) -> str:
        return self.name
