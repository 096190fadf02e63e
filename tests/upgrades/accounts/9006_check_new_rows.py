"""A check that new rows keep."""

from django.db import migrations, models
from django.db.models import Q

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "9005_add_a_unique_index")]

    operations = [
        restartable.AddConstraintNotValid(
            model_name="contactmethod",
            constraint=models.CheckConstraint(condition=~Q(alias="none"), name="alias_is_a_name"),
        ),
    ]
