"""Tags of integrations; a constant default, so no row is rewritten."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("integrations", "0018_periods_before")]

    operations = [
        restartable.AddField(
            model_name="inboundintegration",
            name="tags",
            field=ArrayField(
                base_field=models.CharField(max_length=100),
                blank=True,
                db_default=models.Value([], ArrayField(base_field=models.CharField(max_length=100), size=None)),
                default=list,
                help_text="name or name:value, in lower case and in order.",
                size=None,
            ),
        ),
    ]
