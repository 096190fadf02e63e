"""Leave room on the pages of the table that every ping updates."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("integrations", "0001_initial")]

    operations = [
        migrations.RunSQL(
            # A ping rewrites its row; with room on the page the new version stays there, and vacuum comes before bloat.
            "ALTER TABLE integrations_heartbeat SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, "
            "autovacuum_vacuum_cost_delay = 0)",
            "ALTER TABLE integrations_heartbeat RESET (fillfactor, autovacuum_vacuum_scale_factor, "
            "autovacuum_vacuum_cost_delay)",
        ),
    ]
