import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("integrations", "0002_former_tokens"),
    ]

    operations = [
        migrations.CreateModel(
            name="MonthlyUsage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.DateField(help_text="The first day of the month, in UTC.")),
                (
                    "heartbeats",
                    models.PositiveIntegerField(help_text="The most heartbeats that were counted at once."),
                ),
                ("alerts", models.PositiveIntegerField(help_text="Alerts that opened, without tests.")),
                (
                    "messages",
                    models.JSONField(
                        help_text="By channel, the messages that a provider accepted; a bundle is one."
                    ),
                ),
                ("counted_at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="usage",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-month"],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "month"), name="usage_once_a_month")
                ],
            },
        ),
    ]
