from django.db import migrations, models

from heartbeat_project.kernel.restartable import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("alerting", "0005_alerts_of_events"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="alert",
            index=models.Index(fields=["organization", "opened_at"], name="alert_by_time"),
        ),
    ]
