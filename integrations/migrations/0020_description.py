"""Descriptions of integrations."""

from django.db import migrations, models

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("integrations", "0019_tags")]

    operations = [
        restartable.AddField(
            model_name="inboundintegration",
            name="description",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
    ]
