"""An index that the migration after it drops."""

from django.db import migrations, models

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "9008_drop_the_index_of_a_key")]

    operations = [
        restartable.AddIndexConcurrently(
            model_name="contactmethod",
            index=models.Index(fields=["label"], name="method_by_label"),
        ),
    ]
