"""The audit log: who changed what, and when."""

from typing import Final

from django.db import models
from django.db.models.functions import Now

from accounts.models.organizations import Organization
from accounts.models.users import User

# What entries are about. The triggers of the migrations name the configured objects; the others are not rows.
OBJECT_TYPES: Final = (
    *("integration", "maintenance_window", "escalation_policy", "response_play", "bridge", "group", "shift"),
    *("out_of_office", "user", "contact_method", "role", "api_key", "organization"),
    *("alert", "audit_log", "installation", "secret_key"),
)


class AuditEntry(models.Model):
    """One change, by whom, from where, and the changed fields before and after it.

    PostgreSQL writes the entries of row changes itself, in the transaction of the change; `services.audit` those of
    other actions. A trigger refuses to change or delete an entry.
    """

    # No foreign keys: an entry outlives what it is about, and nothing may change it.
    organization = models.ForeignKey(
        Organization, models.DO_NOTHING, null=True, related_name="+", db_constraint=False, db_index=False
    )
    at = models.DateTimeField(db_default=Now(), help_text="By the database's clock.")
    actor = models.ForeignKey(
        User,
        models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
        help_text="Null: nobody was signed in, as on the command line; or the database was changed directly.",
    )
    actor_name = models.CharField(max_length=200, blank=True, help_text="The name that the actor had then.")
    via = models.CharField(max_length=10, help_text="Over what: page, rest, key, command, worker or sql, for example.")
    address = models.CharField(
        max_length=100, blank=True, help_text="The network address of the actor, if there is one."
    )
    object_type = models.CharField(max_length=30)
    object_id = models.BigIntegerField(null=True)
    object_name = models.CharField(max_length=300, blank=True, help_text="The name that the object had then.")
    action = models.CharField(max_length=20)
    before = models.JSONField(null=True, help_text="The changed fields before the change; null for a new object.")
    after = models.JSONField(null=True, help_text="The same fields after it; null for a deleted object.")

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["organization", "-at", "-id"], name="audit_by_time"),
            models.Index(fields=["organization", "object_type", "object_id", "-at", "-id"], name="audit_by_object"),
            models.Index(fields=["organization", "actor", "-at", "-id"], name="audit_by_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name or self.via}: {self.action} {self.object_type} {self.object_name}"

    @property
    def object_type_text(self) -> str:
        """Return the type of the object in words."""
        return self.object_type.replace("_", " ")

    @property
    def action_text(self) -> str:
        """Return the action in words."""
        return self.action.replace("_", " ")
