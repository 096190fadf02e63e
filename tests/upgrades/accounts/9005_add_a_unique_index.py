"""A unique index with a condition: PostgreSQL lists it as an index."""

from django.db import migrations, models
from django.db.models import Q

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "9004_replace_a_constraint")]

    operations = [
        restartable.AddUniqueConcurrently(
            model_name="contactmethod",
            constraint=models.UniqueConstraint(
                fields=["user", "alias"], condition=~Q(alias=""), name="alias_once_for_each_person"
            ),
        ),
    ]
