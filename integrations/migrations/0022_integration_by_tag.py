"""An index that finds the integrations with a tag."""

from django.contrib.postgres.indexes import GinIndex
from django.db import migrations

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("integrations", "0021_own_priority")]

    operations = [
        restartable.AddIndexConcurrently(
            model_name="inboundintegration",
            index=GinIndex(fields=["tags"], name="integration_by_tag"),
        ),
    ]
