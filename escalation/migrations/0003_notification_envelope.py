"""The envelope: which message carries a notification."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("escalation", "0002_letterboxes")]

    operations = [
        migrations.AddField(
            model_name="notification",
            name="envelope",
            field=models.UUIDField(blank=True, help_text="The message that carries it: its own id where it travels alone, a bundle's with others. Stays the same when the message is sent again; empty until the first try.", null=True),
        ),
    ]
