"""Alerts that were opened by a silence get the type of their integration."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("alerting", "0007_longer_source")]

    operations = [
        migrations.RunSQL(
            "UPDATE alerting_alert SET integration_type = 'heartbeat' WHERE source = 'Heartbeat' AND integration_type = ''",
            migrations.RunSQL.noop,
        ),
    ]
