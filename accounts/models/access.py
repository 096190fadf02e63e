"""API keys, and counters of tries."""

from django.db import models

from accounts.models.users import User


class ApiKey(models.Model):
    """An API key, which has all rights of its user. Only the hash of the key is stored."""

    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, help_text="The first characters of the key.")
    key_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="Rounded down to the minute.")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class TryCount(models.Model):
    """The number of tries of an action that is limited to some tries in a time window; see services.try_limits."""

    key = models.CharField(
        max_length=64, primary_key=True, help_text="A digest; the person or action behind it is not stored."
    )
    tries = models.IntegerField()
    until = models.DateTimeField(help_text="The end of the window; after it, counting starts again.")

    class Meta:
        indexes = [models.Index(fields=["until"], name="try_count_age")]

    def __str__(self) -> str:
        return f"{self.tries} until {self.until}"
