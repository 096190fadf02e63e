from django.db import migrations

from heartbeat_project.kernel.audit_triggers import AuditTable


class Migration(migrations.Migration):
    dependencies = [("alerting", "0002_bridge_copies"), ("accounts", "0002_audit_log")]

    operations = [AuditTable("alerting_bridge", "bridge")]
