"""A unique constraint: PostgreSQL lists it as one."""

from django.db import migrations, models

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "9002_add_an_index")]

    operations = [
        restartable.AddUniqueConcurrently(
            model_name="contactmethod",
            constraint=models.UniqueConstraint(fields=["user", "alias", "label"], name="alias_once"),
        ),
    ]
