"""A column for new and old rows."""

from django.db import migrations, models

from heartbeat_project.kernel import restartable
from tests.upgrades.accounts import LATEST


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", LATEST)]

    operations = [
        restartable.AddField(
            model_name="contactmethod",
            name="alias",
            field=models.CharField(default="", db_default="", max_length=40),
        ),
    ]
