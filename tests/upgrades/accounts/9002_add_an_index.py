"""An index on a table that is in use."""

from django.db import migrations, models
from django.db.models import Q

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "9001_add_a_column")]

    operations = [
        restartable.AddIndexConcurrently(
            model_name="contactmethod",
            index=models.Index(fields=["alias"], condition=~Q(alias=""), name="method_by_alias"),
        ),
    ]
