"""A heartbeat has one live alert, which is known by the type of its integration."""

from django.db import migrations, models

from heartbeat_project.kernel.restartable import AddUniqueConcurrently


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("alerting", "0008_type_of_alerts")]

    operations = [
        AddUniqueConcurrently(
            "alert",
            models.UniqueConstraint(condition=models.Q(('integration_type', 'heartbeat'), ('status__in', ["assigned", "on_hold", "open"])), fields=('integration_id',), name='one_live_alert_per_heartbeat'),
            instead_of=["one_live_alert_per_heartbeat"],
        ),
    ]
