"""The priority that an integration has of its own."""

from django.db import migrations, models

from heartbeat_project.kernel import restartable


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("integrations", "0020_description")]

    operations = [
        restartable.AddField(
            model_name="inboundintegration",
            name="priority",
            field=models.CharField(
                blank=True,
                choices=[
                    ("critical", "Critical"),
                    ("high", "High"),
                    ("medium", "Medium"),
                    ("low", "Low"),
                    ("none", "None"),
                ],
                help_text="Of its alerts, unless their event or a rule says another; empty: that of the policy or play.",
                max_length=8,
                null=True,
            ),
        ),
    ]
