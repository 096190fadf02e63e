"""An index of the alerts that close by themselves."""

from django.db import migrations, models

from heartbeat_project.kernel.restartable import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("alerting", "0010_live_alerts_by_key")]

    operations = [
        AddIndexConcurrently(
            "alert",
            models.Index(condition=models.Q(('closes_at__isnull', False), ('status__in', ["assigned", "on_hold", "open"])), fields=['closes_at'], name='alert_closes_by_itself'),
        ),
    ]
