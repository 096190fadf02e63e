"""Organizations and their settings."""

import zoneinfo
from functools import cache

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

# Seconds for which the alerts after a first message are collected. A default of minutes would delay pages too much.
BUNDLE_SECONDS = 5
MAX_BUNDLE_SECONDS = 600


@cache
def time_zones() -> frozenset[str]:
    """Return the names of all IANA time zones. They are cached, because reading the system's files is slow."""
    # localtime is the zone of this machine, and Factory is a placeholder for it.
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def check_time_zone(name: str) -> None:
    """Raise ValidationError unless `name` is an IANA time zone."""
    if name not in time_zones():
        raise ValidationError(f"“{name}” is not a time zone. Use a name such as Europe/Berlin.", code="time_zone")


class Organization(models.Model):
    """One tenant. No user ever sees the data of another organization."""

    name = models.CharField(max_length=200)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[check_time_zone])
    bundle_seconds = models.PositiveSmallIntegerField(
        "bundle for (seconds)",
        default=BUNDLE_SECONDS,
        db_default=BUNDLE_SECONDS,
        help_text="If several alerts go to one person, the first is sent at once, and those of the following seconds "
        "are sent together in one message. 0 sends every alert by itself.",
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(bundle_seconds__lte=MAX_BUNDLE_SECONDS),
                name="bundle_within_minutes",
            ),
        ]

    def __str__(self) -> str:
        return self.name
