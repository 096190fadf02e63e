"""A wider unique constraint in the place of one with the same name."""

from django.db import migrations, models

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "9003_add_a_constraint")]

    operations = [
        restartable.AddUniqueConcurrently(
            model_name="contactmethod",
            constraint=models.UniqueConstraint(
                fields=["user", "group", "alias", "label"], name="alias_once", nulls_distinct=False
            ),
            instead_of=["alias_once"],
        ),
    ]
