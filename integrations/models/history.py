"""The ping history: pings, the days that have a partition, and counts by the hour."""

from typing import Final

from django.contrib.postgres.indexes import BrinIndex
from django.db import models

# What a mail has for a user agent, before its sender.
MAIL_AGENT: Final = "mail from"


class Ping(models.Model):
    """One accepted request to an API URL; the table is partitioned by day, see heartbeats/history.py."""

    integration_id = models.BigIntegerField(help_text="No foreign key: history costs no lock, and no cascade.")
    received_at = models.DateTimeField()
    method = models.CharField(max_length=4)
    source_ip = models.GenericIPAddressField(null=True)
    user_agent = models.TextField(null=True, help_text="Cut to 200 bytes; characters that do not print are replaced.")

    class Meta:
        ordering = ["-received_at", "-id"]
        indexes = [models.Index(fields=["integration_id", "-received_at", "-id"], name="ping_by_integration")]

    def __str__(self) -> str:
        return f"{self.method} at {self.received_at}"

    @property
    def is_mail(self) -> bool:
        """Whether it was a mail, which comes without the address of a client."""
        return self.source_ip is None and (self.user_agent or "").startswith(f"{MAIL_AGENT} ")


class PingDay(models.Model):
    """A day that has a partition of its own in the ping history."""

    day = models.DateField(primary_key=True)
    counted_at = models.DateTimeField(null=True, help_text="When its pings were counted by the hour.")

    def __str__(self) -> str:
        return str(self.day)


class PingHour(models.Model):
    """How many pings an integration had in one hour of a day that has ended; kept longer than the pings."""

    integration_id = models.BigIntegerField()
    hour = models.DateTimeField()
    pings = models.IntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration_id", "hour"], name="ping_hour_once")]
        # For deleting old rows: hours are written in the order of time, so a small index does.
        indexes = [BrinIndex(fields=["hour"], name="ping_hour_age")]

    def __str__(self) -> str:
        return f"{self.pings} pings at {self.hour}"
