"""The first page of an alert goes before reminders, and these before recoveries: each message says how urgent it is."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("escalation", "0014_lighter_storms")]

    operations = [
        migrations.AddField(
            model_name="notification",
            name="urgency",
            field=models.PositiveSmallIntegerField(
                choices=[
                    (0, "Nobody has been told of the alert yet"),
                    (1, "A further page"),
                    (2, "A recovery or a notice"),
                ],
                db_default=1,
                default=1,
                help_text="Of its first moment; a page that takes the place of one that failed gets that one's.",
            ),
        ),
    ]
