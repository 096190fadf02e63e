"""An index that nothing uses any more."""

from django.db import migrations

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "9009_add_another_index")]

    operations = [
        restartable.RemoveIndexConcurrently(model_name="contactmethod", name="method_by_label"),
    ]
