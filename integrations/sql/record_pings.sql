-- Record a batch of arrivals: set the timers, write the history, and answer each arrival with its heartbeat's state.
-- Index: the unique index on integrations_inboundintegration.token, then primary keys. Rows are locked in id order, so two batches never deadlock.
WITH arrived AS (
    SELECT token, received_at, method, source_ip, ordinality
    FROM unnest(%(tokens)s::text[], %(received)s::timestamptz[], %(methods)s::text[], %(ips)s::inet[])
         WITH ORDINALITY AS arrival (token, received_at, method, source_ip, ordinality)
),
known AS (
    SELECT arrived.*, integration.id, heartbeat.allow_get OR arrived.method = 'POST' AS accepted
    FROM arrived
    JOIN integrations_inboundintegration AS integration ON integration.token = arrived.token
    JOIN integrations_heartbeat AS heartbeat ON heartbeat.integration_id = integration.id
),
accepted AS (
    SELECT id, max(received_at) AS received_at, count(*) AS arrivals FROM known WHERE accepted GROUP BY id
),
locked AS (
    SELECT heartbeat.integration_id, heartbeat.state
    FROM integrations_heartbeat AS heartbeat
    WHERE heartbeat.integration_id IN (SELECT id FROM accepted)
    ORDER BY heartbeat.integration_id
    FOR UPDATE
),
updated AS (
    UPDATE integrations_heartbeat AS heartbeat
    SET last_ping_at = greatest(heartbeat.last_ping_at, accepted.received_at),
        ping_count = heartbeat.ping_count + accepted.arrivals,
        -- greatest() passes over NULL; a ping in a maintenance window arms the timer at the window's end; the timer of a
        -- silence is over: where the clock was set back, it would end in the same deadline, which has its alert already
        armed_at = CASE WHEN heartbeat.state = 'disabled' THEN NULL
            ELSE greatest(CASE WHEN heartbeat.state <> 'missed' THEN heartbeat.armed_at END,
                accepted.received_at, heartbeat.suspended_until) END,
        deadline_at = CASE WHEN heartbeat.state = 'disabled' THEN NULL
            ELSE greatest(CASE WHEN heartbeat.state <> 'missed' THEN heartbeat.armed_at END,
                accepted.received_at, heartbeat.suspended_until)
                 + (heartbeat.interval_minutes + heartbeat.grace_minutes) * interval '1 minute' END,
        state = CASE WHEN heartbeat.state = 'disabled' THEN 'disabled' ELSE 'healthy' END
    FROM accepted JOIN locked ON locked.integration_id = accepted.id
    WHERE heartbeat.integration_id = accepted.id
    RETURNING heartbeat.integration_id, heartbeat.state, heartbeat.deadline_at, locked.state AS old_state
),
history AS (
    INSERT INTO integrations_ping (integration_id, received_at, method, source_ip)
    SELECT id, received_at, method, source_ip FROM known WHERE accepted ORDER BY ordinality
)
SELECT known.ordinality, known.id, known.accepted, updated.state, updated.old_state, updated.deadline_at
FROM known LEFT JOIN updated ON updated.integration_id = known.id
