"""The same check on the rows that are there."""

from django.db import migrations

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "9006_check_new_rows")]

    operations = [
        restartable.ValidateConstraint(model_name="contactmethod", name="alias_is_a_name"),
    ]
