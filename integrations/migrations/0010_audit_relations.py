from django.db import migrations

from heartbeat_project.kernel.audit_triggers import AuditRelation, part_of


def relation(table: str, object_type: str, *, part: str) -> AuditRelation:
    """Return the operation for a list of `table`, whose rows name it by its table."""
    column = f"{table}_id"
    return AuditRelation(
        f"integrations_{table}_{part}",
        object_type,
        found_by=part_of(f"integrations_{table}", column),
        part=part,
        left_out=(column,),
        rows_of=f"{column} = $1",
    )


class Migration(migrations.Migration):
    dependencies = [("integrations", "0009_usage_by_day"), ("accounts", "0003_audit_relations")]

    operations = [
        relation("inboundintegration", "integration", part="recipient_groups"),
        relation("inboundintegration", "integration", part="recipient_users"),
        relation("maintenancewindow", "maintenance_window", part="integrations"),
    ]
