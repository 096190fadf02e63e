"""Let a Slack member ID be one person's in an organization: the index is built beside the work."""

from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "0007_slack_member_ids")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "CREATE UNIQUE INDEX CONCURRENTLY slack_id_once ON accounts_user (organization_id, slack_id)"
                    " WHERE NOT (slack_id = '')",
                    "DROP INDEX CONCURRENTLY slack_id_once",
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="user",
                    constraint=models.UniqueConstraint(
                        condition=models.Q(("slack_id", ""), _negated=True),
                        fields=["organization", "slack_id"],
                        name="slack_id_once",
                    ),
                ),
            ],
        ),
    ]
