"""A notification may go to what a group shares instead of to one person."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_group_contacts_leave"),
        ("escalation", "0016_due_by_urgency"),
    ]

    operations = [
        migrations.AddField(
            model_name="notification",
            name="group",
            field=models.ForeignKey(
                db_index=False,
                help_text="Whose shared contact it went to; nobody in person.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.group",
            ),
        ),
        # Django would build the foreign key anew, and read the whole table for it.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE escalation_notification ALTER COLUMN user_id DROP NOT NULL",
                    "ALTER TABLE escalation_notification ALTER COLUMN user_id SET NOT NULL",
                ),
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="notification",
                    name="user",
                    field=models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
    ]
