"""Bridges, the conference lines that messages about an alert name."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.models.organizations import Organization


class Bridge(models.Model):
    """A conference line that messages about an alert name: a number to dial, a page to join, or both."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="bridges")
    name = models.CharField(max_length=200)
    phone_number = models.CharField(max_length=40, blank=True)
    access_code = models.CharField(max_length=40, blank=True)
    meeting_url = models.URLField(max_length=500, blank=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="bridge_name_unique"),
            models.CheckConstraint(
                condition=~Q(phone_number="") | ~Q(meeting_url=""),
                name="bridge_leads_somewhere",
            ),
        ]

    def __str__(self) -> str:
        return self.name
