"""A key of an integration has one live alert."""

from django.db import migrations, models

from heartbeat_project.kernel.restartable import AddUniqueConcurrently


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("alerting", "0009_live_alerts_by_type")]

    operations = [
        AddUniqueConcurrently(
            "alert",
            models.UniqueConstraint(condition=models.Q(('status__in', ["assigned", "on_hold", "open"]), models.Q(('key_hash', ''), _negated=True)), fields=('integration_id', 'key_hash'), name='one_live_alert_per_key'),
        ),
    ]
