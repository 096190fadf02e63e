-- Read the database's clock and note it as the newest time seen; returns it, the newest before it, how far the clock was set back in all, and by how much of that some heartbeats are still to be moved.
-- Index: the primary key of the one row of integrations_databaseclock; clock_step_undone.
WITH reading AS MATERIALIZED (
    SELECT COALESCE(%(now)s::timestamptz, clock_timestamp() + %(offset)s::interval) AS at
),
clock AS (
    SELECT latest_at, set_back FROM integrations_databaseclock WHERE id = 1
),
noted AS (
    UPDATE integrations_databaseclock AS known
    SET latest_at = reading.at
    FROM reading, clock
    -- About once a second. A reading from before a step that was claimed meanwhile is not noted.
    WHERE known.id = 1 AND known.latest_at <= reading.at - interval '0.9 seconds' AND known.set_back = clock.set_back
)
SELECT reading.at, clock.latest_at, COALESCE(clock.set_back, interval '0'),
    (SELECT sum(set_back) FROM integrations_clockstep WHERE done_at IS NULL AND stage = 0 AND set_back > interval '0')
FROM reading
LEFT JOIN clock ON TRUE
