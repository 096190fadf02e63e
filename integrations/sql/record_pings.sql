-- Record a batch of arrivals: set the timers, write the history, and answer each arrival with its heartbeat's state.
-- Index: the unique index on integrations_inboundintegration.token, for other tokens that on integrations_formertoken.token, then primary keys. Rows are locked in id order, so two batches never deadlock.
-- After a step back of the database's clock, a row's times and an arrival's may be from before and from after it: `set_back` of the row, and of the process that received the arrival, say which.
WITH arrived AS (
    -- without an id, the token is unknown; the joins below leave it out
    SELECT arrival.*, coalesce(integration.id, (
        SELECT former.integration_id FROM integrations_formertoken AS former
        WHERE former.token = arrival.token AND former.ends_at > arrival.received_at
    )) AS id
    FROM unnest(%(tokens)s::text[], %(received)s::timestamptz[], %(methods)s::text[], %(ips)s::inet[], %(agents)s::text[])
         WITH ORDINALITY AS arrival (token, received_at, method, source_ip, user_agent, ordinality)
    LEFT JOIN integrations_inboundintegration AS integration ON integration.token = arrival.token
),
-- Each row is read here, once, when it is locked.
locked AS (
    SELECT heartbeat.integration_id, heartbeat.allow_get, heartbeat.state, heartbeat.last_ping_at, heartbeat.last_gap,
        heartbeat.ping_count, heartbeat.armed_at, heartbeat.suspended_until, heartbeat.set_back,
        (heartbeat.interval_minutes + heartbeat.grace_minutes) * interval '1 minute' AS allowed,
        -- by how much the row's times are still to be moved back (NULL: not at all), and the arrival's
        CASE WHEN heartbeat.set_back < %(set_back)s::interval THEN %(unmoved)s::interval END AS row_ahead,
        greatest(heartbeat.set_back - %(set_back)s::interval, interval '0') AS arrival_ahead
    FROM integrations_heartbeat AS heartbeat
    WHERE heartbeat.integration_id IN (SELECT id FROM arrived)
    ORDER BY heartbeat.integration_id
    FOR UPDATE
),
known AS (
    SELECT arrived.*, locked.allow_get,
        arrived.method = 'POST' OR (locked.allow_get AND arrived.method IN ('GET', 'HEAD')) AS accepted
    FROM arrived JOIN locked ON locked.integration_id = arrived.id
),
accepted AS (
    SELECT id, max(received_at) AS received_at, count(*) AS arrivals FROM known WHERE accepted GROUP BY id
),
timed AS (
    SELECT locked.integration_id, locked.allowed, locked.state, locked.last_ping_at, locked.last_gap, locked.ping_count,
        locked.armed_at, locked.set_back, locked.row_ahead, accepted.arrivals,
        accepted.received_at - locked.arrival_ahead AS received_at,
        -- a maintenance window that was over before a step back stays so; one that lasts ends by the clock
        CASE WHEN locked.suspended_until <= accepted.received_at + locked.row_ahead THEN NULL
            ELSE locked.suspended_until END AS suspended_until
    FROM accepted JOIN locked ON locked.integration_id = accepted.id
),
updated AS (
    UPDATE integrations_heartbeat AS heartbeat
    -- times that the row has from before a step back are older than this ping, even if they are later by the clock
    SET last_ping_at = greatest(CASE WHEN timed.row_ahead IS NULL THEN timed.last_ping_at END, timed.received_at),
        -- a gap that is longer than the timer was a silence, or an outage of ours, and says nothing of the cadence
        last_gap = CASE WHEN timed.row_ahead IS NULL AND timed.received_at - timed.last_ping_at
                BETWEEN interval '0' AND timed.allowed
            THEN timed.received_at - timed.last_ping_at ELSE timed.last_gap END,
        ping_count = timed.ping_count + timed.arrivals,
        -- greatest() ignores NULL; a ping in a maintenance window arms the timer at the window's end; the timer of a
        -- silence is over: if the clock was set back, it could end in the same deadline, which already has its alert
        armed_at = CASE WHEN timed.state = 'disabled' THEN NULL
            ELSE greatest(CASE WHEN timed.state <> 'missed' AND timed.row_ahead IS NULL THEN timed.armed_at END,
                timed.received_at, timed.suspended_until) END,
        deadline_at = CASE WHEN timed.state = 'disabled' THEN NULL
            ELSE greatest(CASE WHEN timed.state <> 'missed' AND timed.row_ahead IS NULL THEN timed.armed_at END,
                timed.received_at, timed.suspended_until) + timed.allowed END,
        suspended_until = timed.suspended_until,
        set_back = CASE WHEN timed.row_ahead IS NULL THEN timed.set_back ELSE %(set_back)s END,
        state = CASE WHEN timed.state = 'disabled' THEN 'disabled' ELSE 'healthy' END
    FROM timed
    WHERE heartbeat.integration_id = timed.integration_id
    RETURNING heartbeat.integration_id, heartbeat.state, heartbeat.deadline_at, timed.state AS old_state
),
history AS (
    INSERT INTO integrations_ping (integration_id, received_at, method, source_ip, user_agent)
    SELECT id, received_at, method, source_ip, user_agent FROM known WHERE accepted ORDER BY ordinality
)
SELECT known.ordinality, known.id, known.accepted, known.allow_get, updated.state, updated.old_state, updated.deadline_at
FROM known LEFT JOIN updated ON updated.integration_id = known.id
