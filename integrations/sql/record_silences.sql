-- Begin a silence of each heartbeat that has just been marked missed, at its deadline; what was open before it ends first.
-- Index: one_open_state_period, ping_by_integration (one look-up for each period that was open), the heartbeats' primary key.
WITH ended AS (
    UPDATE integrations_stateperiod AS period
    SET ended_at = greatest(period.started_at, least(heartbeat.deadline_at, (
        -- An earlier silence whose alert somebody closed, or a heartbeat that waited: a ping may have ended it.
        SELECT ping.received_at FROM integrations_ping AS ping
        WHERE ping.integration_id = period.integration_id AND ping.received_at >= period.started_at
          AND ping.received_at <= heartbeat.deadline_at
        ORDER BY ping.received_at, ping.id
        LIMIT 1
    )))
    FROM integrations_heartbeat AS heartbeat
    WHERE period.integration_id = ANY(%(ids)s::bigint[]) AND period.ended_at IS NULL
      AND heartbeat.integration_id = period.integration_id AND heartbeat.state = 'missed'
    RETURNING period.integration_id
)
INSERT INTO integrations_stateperiod (integration_id, kind, started_at)
SELECT heartbeat.integration_id, 'missed', heartbeat.deadline_at
-- Counting them ends them before the first row is inserted: a heartbeat has one open period.
FROM (SELECT count(*) FROM ended) AS done
CROSS JOIN integrations_heartbeat AS heartbeat
WHERE heartbeat.integration_id = ANY(%(ids)s::bigint[]) AND heartbeat.state = 'missed'
ORDER BY heartbeat.integration_id
