"""The source of an alert may be the name of the system that sent it."""

from django.db import migrations, models

from heartbeat_project.kernel.restartable import AlterField


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("alerting", "0006_alerts_by_time")]

    operations = [
        AlterField(
            model_name='alert',
            name='source',
            field=models.CharField(help_text="Heartbeat, Manual or Test, or the sender's system, such as Alertmanager or API.", max_length=100),
        ),
    ]
