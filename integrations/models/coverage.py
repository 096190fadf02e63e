"""The coverage gaps that were found last."""

from django.db import models

from accounts.models.organizations import Organization


class CoverageReport(models.Model):
    """The coverage gaps of a large organization, as its pages show them; `integrations.coverage.reports` writes it."""

    organization = models.OneToOneField(Organization, models.CASCADE, primary_key=True, related_name="+")
    checked_at = models.DateTimeField(help_text="The instant for which the gaps were computed.")
    looked_until = models.DateTimeField(help_text="Gaps that begin later were not looked for.")
    gaps = models.JSONField(help_text="For each set of gaps the ids of the integrations that have it.")
    groups = models.JSONField(help_text="Trouble with rotas.")

    def __str__(self) -> str:
        return f"coverage gaps of {self.organization_id}"
