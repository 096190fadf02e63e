"""What is due is asked for by channel, by letterbox and by envelope."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("escalation", "0004_fill_envelopes")]

    operations = [
        AddIndexConcurrently(
            model_name="notification",
            index=models.Index(
                fields=["channel", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="notification_due_on_channel",
            ),
        ),
        AddIndexConcurrently(
            model_name="notification",
            index=models.Index(
                fields=["contact_method", "kind", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False, envelope__isnull=True),
                name="notification_for_letterbox",
            ),
        ),
        AddIndexConcurrently(
            model_name="notification",
            index=models.Index(
                fields=["envelope"],
                condition=Q(envelope__isnull=False),
                name="notification_by_envelope",
            ),
        ),
        RemoveIndexConcurrently(model_name="notification", name="notification_due"),
    ]
