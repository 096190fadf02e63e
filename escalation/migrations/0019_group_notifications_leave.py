"""On the way back what went to groups goes first: every notification was to a person."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("escalation", "0018_notification_to_one")]

    operations = [
        migrations.RunSQL(
            migrations.RunSQL.noop,
            [
                "DELETE FROM escalation_notification WHERE group_id IS NOT NULL",
                """
                DELETE FROM escalation_letterbox USING accounts_contactmethod AS method
                WHERE method.id = contact_method_id AND method.group_id IS NOT NULL
                """,
            ],
        ),
    ]
