"""Each contact method is a person's or a group's, and a group's label is there once: without holding up who writes."""

from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "0009_group_contacts")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    """
                    CREATE UNIQUE INDEX CONCURRENTLY group_contact_label_once
                        ON accounts_contactmethod (group_id, lower(label)) WHERE group_id IS NOT NULL
                    """,
                    "DROP INDEX CONCURRENTLY group_contact_label_once",
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="contactmethod",
                    constraint=models.UniqueConstraint(
                        F("group"), Lower("label"), condition=Q(group__isnull=False), name="group_contact_label_once"
                    ),
                ),
            ],
        ),
        AddConstraintNotValid(
            model_name="contactmethod",
            constraint=models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False, kind__in=["email", "chat", "webhook"]),
                name="contact_of_a_person_or_shared",
            ),
        ),
        ValidateConstraint(model_name="contactmethod", name="contact_of_a_person_or_shared"),
    ]
