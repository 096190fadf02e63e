"""An index by which the integrations are found that have keys whose delay has passed, however many keys one has."""

from django.db import migrations, models
from django.db.models import Q

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("integrations", "0015_email_aliases")]

    operations = [
        restartable.AddIndexConcurrently(
            model_name="eventkey",
            index=models.Index(
                fields=["integration", "due_at"], condition=Q(due_at__isnull=False), name="event_key_due_of"
            ),
        ),
    ]
