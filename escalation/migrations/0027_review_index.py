"""What is to be looked at now is found without reading the others."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("escalation", "0026_remind_of_critical_alerts")]

    operations = [
        AddIndexConcurrently(
            model_name="escalationrun",
            index=models.Index(
                condition=models.Q(("review_at__isnull", False)), fields=["review_at"], name="run_review"
            ),
        ),
    ]
