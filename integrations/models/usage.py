"""What each organization used, month by month."""

from django.db import models

from accounts.models.organizations import Organization


class MonthlyUsage(models.Model):
    """What an organization used in one month. It stays when the alerts and messages of the month are deleted."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="usage", db_index=False)
    month = models.DateField(help_text="The first day of the month, in UTC.")
    heartbeats = models.PositiveIntegerField(help_text="The most heartbeats that were counted at once.")
    alerts = models.PositiveIntegerField(help_text="Alerts that opened, without tests.")
    messages = models.JSONField(help_text="By channel, the messages that a provider accepted; a bundle is one.")
    days = models.JSONField(
        default=dict,
        db_default={},
        help_text="By day of the month: how many alerts opened (alerts), and how many messages each channel carried.",
    )
    counted_at = models.DateTimeField()

    class Meta:
        ordering = ["-month"]
        constraints = [models.UniqueConstraint(fields=["organization", "month"], name="usage_once_a_month")]

    def __str__(self) -> str:
        return f"{self.organization}, {self.month:%Y-%m}"
