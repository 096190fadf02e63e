"""Each notification is to one person or one group: held, and found by its group, without holding up who writes."""

from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("escalation", "0017_group_contacts")]

    operations = [
        AddIndexConcurrently(
            model_name="notification",
            index=models.Index(fields=["group"], condition=Q(group__isnull=False), name="notification_by_group"),
        ),
        AddConstraintNotValid(
            model_name="notification",
            constraint=models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True) | Q(user__isnull=True, group__isnull=False),
                name="notification_to_one",
            ),
        ),
        ValidateConstraint(model_name="notification", name="notification_to_one"),
    ]
