"""State of the whole installation: the digest of its SECRET_KEY, and restores of backups."""

from django.db import models
from django.db.models import Q

from accounts.models.users import User


class Restore(models.Model):
    """A backup that was restored into this database. Until it is released, nothing is judged and nobody is notified."""

    taken_at = models.DateTimeField(help_text="When the backup was made. It holds nothing of later.")
    restored_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)
    released_by = models.ForeignKey(
        User, models.SET_NULL, null=True, related_name="+", help_text="Empty if it was released from the command line."
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            # All held rows have the same value in this index: there is one at most, and the ticks find it at once.
            models.UniqueConstraint(models.Value(1), condition=Q(released_at=None), name="one_restore_is_held"),
        ]

    def __str__(self) -> str:
        return f"backup of {self.taken_at}"


class InstallationKey(models.Model):
    """The digest of the SECRET_KEY that signs the links and sessions of this database. There is at most one row."""

    digest = models.CharField(max_length=64)
    since = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(models.Value(1), name="one_installation_key"),
        ]

    def __str__(self) -> str:
        return f"since {self.since}"
