"""What is due is asked for by channel and urgency."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("escalation", "0015_urgency")]

    operations = [
        AddIndexConcurrently(
            model_name="notification",
            index=models.Index(
                fields=["channel", "urgency", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="notification_due_by_urgency",
            ),
        ),
        RemoveIndexConcurrently(model_name="notification", name="notification_due_on_channel"),
    ]
