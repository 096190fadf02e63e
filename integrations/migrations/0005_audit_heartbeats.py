from django.db import migrations

from heartbeat_project.kernel.audit_triggers import part_of
from heartbeat_project.kernel.restartable import AuditTable

# The settings of a heartbeat. Pings, ticks and storms set none of these columns, so PostgreSQL does not even look at
# the trigger's condition for them.
SETTINGS = ("interval_minutes", "grace_minutes", "start_timer", "allow_get")
TIMER = (
    *("integration_id", "state", "last_ping_at", "last_gap", "ping_count", "armed_at", "deadline_at"),
    *("suspended_until", "set_back", "excused_until", "quarantined_until", "error"),
)


class Migration(migrations.Migration):
    # One operation, which waits for the locks of a table that every ping writes, and holds them no longer than itself.
    atomic = False

    dependencies = [("integrations", "0004_audit_integrations")]

    operations = [
        AuditTable(
            "integrations_heartbeat",
            "integration",
            found_by=part_of("integrations_inboundintegration", "integration_id"),
            part="*",
            left_out=TIMER,
            only=SETTINGS,
        ),
    ]
