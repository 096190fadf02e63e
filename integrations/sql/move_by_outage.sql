-- Move the deadlines of the next heartbeats, by id, whose timers ran through an outage, and log it; returns how many and the last id.
-- Index: the heartbeats' primary key; each batch goes on where the one before ended.
WITH batch AS (
    SELECT integration_id, armed_at, deadline_at, state
    FROM integrations_heartbeat
    WHERE integration_id > %(after)s
    ORDER BY integration_id
    LIMIT %(limit)s
    FOR UPDATE
),
moved AS (
    UPDATE integrations_heartbeat AS heartbeat
    SET armed_at = heartbeat.armed_at + (%(ended_at)s::timestamptz - greatest(heartbeat.armed_at, %(started_at)s::timestamptz)),
        deadline_at = heartbeat.deadline_at + (%(ended_at)s::timestamptz - greatest(heartbeat.armed_at, %(started_at)s::timestamptz))
    FROM batch
    WHERE heartbeat.integration_id = batch.integration_id
      AND batch.state IN ('waiting', 'healthy')
      AND batch.armed_at < %(ended_at)s
      -- what was overdue before we went deaf is overdue
      AND batch.deadline_at > %(started_at)s
    RETURNING heartbeat.integration_id
),
logged AS (
    INSERT INTO integrations_heartbeatevent (integration_id, at, kind, text)
    SELECT integration_id, %(ended_at)s, 'outage', %(text)s FROM moved
)
SELECT (SELECT max(integration_id) FROM batch), (SELECT count(*) FROM moved)
