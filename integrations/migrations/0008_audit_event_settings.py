"""The audit log sees how integrations read events."""

from django.db import migrations

from heartbeat_project.kernel.audit_triggers import AuditTable, part_of


class Migration(migrations.Migration):
    dependencies = [("integrations", "0007_inbound_events_by_day")]

    operations = [
        AuditTable(
            "integrations_eventsettings",
            "integration",
            found_by=part_of("integrations_inboundintegration", "integration_id", secrets="signature"),
            part="*",
            left_out=("integration_id",),
        ),
    ]
