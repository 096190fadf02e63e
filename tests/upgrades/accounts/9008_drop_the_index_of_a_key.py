"""A foreign key without an index of its own."""

from django.conf import settings
from django.db import migrations, models

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "9007_check_old_rows")]

    operations = [
        restartable.AlterField(
            model_name="contactmethod",
            name="user",
            field=models.ForeignKey(
                settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="contact_methods", db_index=False
            ),
        ),
    ]
