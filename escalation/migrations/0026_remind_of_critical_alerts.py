"""Critical policies and plays remind after an hour, as new ones do."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("escalation", "0025_reviews")]

    operations = [
        migrations.RunSQL(
            f"UPDATE {table} SET reopen_after_minutes = 60 WHERE priority = 'critical' AND reopen_after_minutes = 0",
            migrations.RunSQL.noop,
        )
        for table in ("escalation_escalationpolicy", "escalation_responseplay")
    ]
