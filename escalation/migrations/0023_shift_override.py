"""A shift may be an override: it wins over every ordinary one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("escalation", "0022_notification_in_time"),
    ]

    operations = [
        migrations.AddField(
            model_name="shift",
            name="is_override",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="It wins over every ordinary shift while it lasts, however long; "
                "of two overrides the shorter wins.",
                verbose_name="override",
            ),
        ),
    ]
