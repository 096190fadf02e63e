"""A contact method may be shared by a group instead of being one person's."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_slack_id_once")]

    operations = [
        migrations.AddField(
            model_name="contactmethod",
            name="group",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="contact_methods",
                to="accounts.group",
            ),
        ),
        # Django would build the foreign key anew, and read the whole table for it.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE accounts_contactmethod ALTER COLUMN user_id DROP NOT NULL",
                    "ALTER TABLE accounts_contactmethod ALTER COLUMN user_id SET NOT NULL",
                ),
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="contactmethod",
                    name="user",
                    field=models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="contact_methods",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
    ]
