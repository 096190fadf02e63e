"""An index that finds the integrations of an address."""

from django.contrib.postgres.indexes import GinIndex
from django.db import migrations

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("integrations", "0014_email_settings")]

    operations = [
        restartable.AddIndexConcurrently(
            model_name="eventsettings",
            index=GinIndex(fields=["aliases"], opclasses=["jsonb_path_ops"], name="event_settings_aliases"),
        ),
    ]
