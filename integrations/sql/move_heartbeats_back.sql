-- Move the times of the next heartbeats, by id, back by a step of the clock, each once; returns the last id and how many were moved.
-- Index: the heartbeats' primary key; each batch goes on where the one before ended.
WITH batch AS (
    SELECT integration_id
    FROM integrations_heartbeat
    WHERE integration_id > %(after)s AND integration_id <= %(last)s
    ORDER BY integration_id
    LIMIT %(limit)s
    FOR UPDATE
),
moved AS (
    UPDATE integrations_heartbeat AS heartbeat
    SET last_ping_at = last_ping_at - %(by)s::interval,
        -- A maintenance window that is on ends by the clock, and so do timers that are armed at its end. One that was
        -- over stays over.
        armed_at = CASE WHEN suspended_until > %(until)s AND armed_at = suspended_until THEN armed_at
            ELSE armed_at - %(by)s::interval END,
        deadline_at = CASE WHEN suspended_until > %(until)s AND armed_at = suspended_until THEN deadline_at
            ELSE deadline_at - %(by)s::interval END,
        suspended_until = CASE WHEN suspended_until > %(until)s THEN suspended_until END,
        excused_until = excused_until - %(by)s::interval,
        quarantined_until = quarantined_until - %(by)s::interval,
        set_back = %(total)s
    FROM batch
    WHERE heartbeat.integration_id = batch.integration_id AND heartbeat.set_back < %(total)s
    RETURNING heartbeat.integration_id
)
SELECT (SELECT max(integration_id) FROM batch), (SELECT count(*) FROM moved)
