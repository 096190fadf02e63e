from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0008_audit_event_settings"),
    ]

    operations = [
        migrations.AddField(
            model_name="monthlyusage",
            name="days",
            field=models.JSONField(
                db_default={},
                default=dict,
                help_text="By day of the month: how many alerts opened (alerts), and how many messages each channel carried.",
            ),
        ),
    ]
