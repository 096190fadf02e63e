from django.db import migrations

# Nothing is known of the time before, but the state in which each heartbeat is: a silence since its deadline. Heartbeats
# that have a period already were written by processes of this release, or by an earlier try.
FILL = """
INSERT INTO integrations_stateperiod (integration_id, kind, started_at, ended_at)
SELECT heartbeat.integration_id, period.kind, period.started_at, period.ended_at
FROM integrations_heartbeat AS heartbeat
JOIN integrations_inboundintegration AS integration ON integration.id = heartbeat.integration_id
CROSS JOIN LATERAL (
    VALUES
        ('unknown', integration.created_at, CASE heartbeat.state
            WHEN 'missed' THEN greatest(integration.created_at, heartbeat.deadline_at) ELSE now() END),
        (heartbeat.state, CASE heartbeat.state
            WHEN 'missed' THEN greatest(integration.created_at, heartbeat.deadline_at) ELSE now() END, NULL)
) AS period (kind, started_at, ended_at)
WHERE period.kind <> 'healthy'
  AND NOT EXISTS (SELECT FROM integrations_stateperiod AS stored WHERE stored.integration_id = heartbeat.integration_id)
"""


class Migration(migrations.Migration):
    dependencies = [("integrations", "0017_state_periods")]

    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
