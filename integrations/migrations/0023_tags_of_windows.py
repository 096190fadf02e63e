"""Tags by which maintenance windows cover integrations."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("integrations", "0022_integration_by_tag")]

    operations = [
        restartable.AddField(
            model_name="maintenancewindow",
            name="tags",
            field=ArrayField(
                base_field=models.CharField(max_length=100),
                blank=True,
                db_default=models.Value([], ArrayField(base_field=models.CharField(max_length=100), size=None)),
                default=list,
                help_text="It covers every integration that has one of these when it begins, or gets one while it lasts.",
                size=None,
            ),
        ),
    ]
