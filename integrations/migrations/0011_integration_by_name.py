"""An index in the order in which lists and drop-downs name integrations."""

from django.db import migrations, models

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("integrations", "0010_audit_relations")]

    operations = [
        restartable.AddIndexConcurrently(
            model_name="inboundintegration",
            index=models.Index(fields=["organization", "name", "id"], name="integration_by_name"),
        ),
    ]
