"""On the way back what groups share goes first: every contact method was a person's."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_contact_of_one")]

    operations = [
        migrations.RunSQL(
            migrations.RunSQL.noop,
            "DELETE FROM accounts_contactmethod WHERE group_id IS NOT NULL",
        ),
    ]
