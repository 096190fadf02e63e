from django.db import migrations

from heartbeat_project.kernel.audit_triggers import AuditTable, part_of

# The token is the secret of the API URL.
INTEGRATION = "SELECT ($1->>'id')::bigint, $1->>'name', ($1->>'organization_id')::bigint, '{token}'::text[]"


class Migration(migrations.Migration):
    dependencies = [("integrations", "0003_monthly_usage"), ("accounts", "0002_audit_log")]

    operations = [
        AuditTable("integrations_inboundintegration", "integration", found_by=INTEGRATION),
        AuditTable(
            "integrations_inboundintegration_recipient_groups",
            "integration",
            found_by=part_of("integrations_inboundintegration", "inboundintegration_id"),
            part="recipient_groups",
            left_out=("inboundintegration_id",),
        ),
        AuditTable(
            "integrations_inboundintegration_recipient_users",
            "integration",
            found_by=part_of("integrations_inboundintegration", "inboundintegration_id"),
            part="recipient_users",
            left_out=("inboundintegration_id",),
        ),
        AuditTable("integrations_maintenancewindow", "maintenance_window", left_out=("applied_at",)),
        AuditTable(
            "integrations_maintenancewindow_integrations",
            "maintenance_window",
            found_by=part_of("integrations_maintenancewindow", "maintenancewindow_id"),
            part="integrations",
            left_out=("maintenancewindow_id",),
        ),
    ]
