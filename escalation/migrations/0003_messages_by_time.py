from django.db import migrations, models

from heartbeat_project.kernel.restartable import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("escalation", "0002_audit_rules_and_shifts"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="notification",
            index=models.Index(
                fields=["organization", "accepted_at"],
                condition=models.Q(accepted_at__isnull=False),
                name="notification_by_time",
            ),
        ),
    ]
