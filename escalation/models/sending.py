"""State that sending keeps between messages: circuit breakers, rate limits, stored mail."""

from django.db import models

from accounts.models.users import User


class StoredMail(models.Model):
    """A mail that was stored instead of sent, because no EMAIL_URL is set; the admin lists it."""

    at = models.DateTimeField()
    sender = models.CharField(max_length=320)
    recipients = models.TextField()
    subject = models.CharField(max_length=500)
    text = models.TextField()
    html = models.TextField(blank=True)
    message_id = models.CharField(max_length=200, blank=True)
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="+")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.subject


class CircuitBreaker(models.Model):
    """The recent failures of a provider; while the breaker is open, no message waits for that provider."""

    provider = models.CharField(max_length=40, primary_key=True)
    channel = models.CharField(
        max_length=10,
        blank=True,
        default="",
        db_default="",
        help_text="The channel for which the provider takes messages.",
    )
    address = models.CharField(
        max_length=2_000,
        blank=True,
        default="",
        db_default="",
        help_text="The only address for which the provider takes messages.",
    )
    failures = models.PositiveIntegerField(default=0, help_text="Failures in a row, each soon after the one before.")
    failed_at = models.DateTimeField(null=True, help_text="When the last failure was.")
    open_until = models.DateTimeField(
        null=True, help_text="After this time one message may try whether the provider works again."
    )

    def __str__(self) -> str:
        return self.provider


class RateLimitState(models.Model):
    """How much of a rate limit is used up, as one instant: each use moves it on, and time catches up with it."""

    key = models.CharField(max_length=100, primary_key=True)
    used_until = models.DateTimeField(help_text="The theoretical arrival time of the generic cell rate algorithm.")

    def __str__(self) -> str:
        return self.key
