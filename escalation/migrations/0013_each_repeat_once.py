"""Let each repeat of a page be there once: the index is built beside the work, then takes the constraint's place."""

from django.db import migrations, models

COLUMNS = "alert_id, kind, step, contact_method_id, round"


def replaced_by(columns: str) -> list[str]:
    """Return the statements that give the constraint these columns without holding up who writes."""
    return [
        f"CREATE UNIQUE INDEX CONCURRENTLY notification_each_once ON escalation_notification ({columns})",
        "ALTER TABLE escalation_notification DROP CONSTRAINT notification_once",
        """
        ALTER TABLE escalation_notification
            ADD CONSTRAINT notification_once UNIQUE USING INDEX notification_each_once
        """,
    ]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("escalation", "0012_offers")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(replaced_by(f"{COLUMNS}, repeat"), replaced_by(COLUMNS))],
            state_operations=[
                migrations.RemoveConstraint(model_name="notification", name="notification_once"),
                migrations.AddConstraint(
                    model_name="notification",
                    constraint=models.UniqueConstraint(
                        fields=["alert", "kind", "step", "contact_method", "round", "repeat"],
                        name="notification_once",
                    ),
                ),
            ],
        ),
    ]
