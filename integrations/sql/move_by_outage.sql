-- Recalculate the deadlines of the next heartbeats, by id, whose timers ran through an outage (see timing.after_outage); returns the last id, how many, and whether one got a new interval over an hour.
-- Index: the heartbeats' primary key; each batch goes on where the one before ended.
WITH batch AS (
    SELECT *, interval_minutes * interval '1 minute' AS every,
        (interval_minutes + grace_minutes) * interval '1 minute' AS allowed
    FROM integrations_heartbeat
    WHERE integration_id > %(after)s
    ORDER BY integration_id
    LIMIT %(limit)s
    FOR UPDATE
),
running AS (
    SELECT batch.*,
        CASE WHEN state = 'healthy' AND last_gap > interval '0' AND last_gap <= allowed THEN last_gap ELSE every END AS usual,
        greatest(CASE WHEN state = 'healthy' THEN last_ping_at ELSE armed_at END, excused_until) AS since
    FROM batch
    WHERE state IN ('waiting', 'healthy')
      AND armed_at < %(ended_at)s
      -- what was overdue before the outage is overdue
      AND deadline_at > %(started_at)s
),
expecting AS (
    SELECT running.*, least(usual / 10, interval '5 minutes') AS tolerance FROM running
),
judged AS (
    SELECT expecting.*,
        since + usual BETWEEN %(started_at)s::timestamptz - tolerance AND %(ended_at)s::timestamptz + tolerance AS expected
    FROM expecting
),
moved AS (
    UPDATE integrations_heartbeat AS heartbeat
    SET armed_at = CASE WHEN judged.expected THEN %(ended_at)s
            ELSE judged.armed_at + (%(ended_at)s::timestamptz - greatest(judged.armed_at, %(started_at)s::timestamptz)) END,
        deadline_at = CASE WHEN judged.expected THEN %(ended_at)s::timestamptz + judged.allowed
            ELSE judged.deadline_at + (%(ended_at)s::timestamptz - greatest(judged.armed_at, %(started_at)s::timestamptz)) END,
        -- the newest ping that was expected: one new interval for all that an outage swallowed
        excused_until = CASE WHEN judged.expected THEN judged.since + judged.usual * floor(
                extract(epoch FROM %(ended_at)s::timestamptz + judged.tolerance - judged.since) / extract(epoch FROM judged.usual)
            )::double precision
            ELSE judged.excused_until END
    FROM judged
    WHERE heartbeat.integration_id = judged.integration_id
    RETURNING judged.expected AND judged.every > interval '1 hour' AS long
)
SELECT (SELECT max(integration_id) FROM batch), count(*), coalesce(bool_or(long), FALSE) FROM moved
