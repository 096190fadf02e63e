"""Which regular mails were written to an organization."""

from django.db import models
from django.db.models import Value

from accounts.models.organizations import Organization


class DailyList(models.Model):
    """The last day of which an organization got the list of heartbeats that are silent without an alert."""

    organization = models.OneToOneField(Organization, models.CASCADE, primary_key=True, related_name="+")
    day = models.DateField(help_text="In the organization's time zone.")

    def __str__(self) -> str:
        return f"list of {self.day}"


class CoverageWatch(models.Model):
    """When the coverage gaps of an organization are looked for next, and which mails about them were written."""

    organization = models.OneToOneField(Organization, models.CASCADE, primary_key=True, related_name="+")
    due_at = models.DateTimeField(help_text="When the gaps are looked for next.")
    gaps_since = models.DateTimeField(null=True, help_text="Since when there has been a gap at every look.")
    mailed_at = models.DateTimeField(null=True, help_text="When the last mail was written.")
    gaps_ahead = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text="Maps the start of each gap in the next day to when it was first seen; null once a mail named it.",
    )

    uncovered = models.PositiveIntegerField(
        default=0, db_default=0, help_text="How many integrations reached nobody at the last look."
    )

    class Meta:
        verbose_name_plural = "coverage watches"
        indexes = [models.Index(fields=["due_at"], name="coverage_watch_due")]

    def __str__(self) -> str:
        return f"coverage of {self.organization_id}"
