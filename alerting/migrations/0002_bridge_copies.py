"""Alerts keep the fields of their bridge."""

from django.db import migrations, models

from heartbeat_project.kernel.restartable import AddField


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("alerting", "0001_initial")]

    operations = [
        AddField(
            model_name="alert",
            name="bridge_copy",
            field=models.JSONField(
                blank=True,
                help_text="The fields of the bridge as they were when the alert opened. They stay when it is deleted.",
                null=True,
            ),
        ),
    ]
