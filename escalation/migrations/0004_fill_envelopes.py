"""Messages that were tried before there were envelopes go on by themselves, under the id they had."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("escalation", "0003_notification_envelope")]

    operations = [
        migrations.RunSQL(
            "UPDATE escalation_notification SET envelope = id WHERE next_attempt_at IS NOT NULL AND attempts > 0",
            migrations.RunSQL.noop,
        ),
    ]
