-- Commit that somebody was listening; returns the outage it ended, or nulls, whether a deadline has passed, and the next one.
-- Index: the primary key of the one row of integrations_listening, whose lock puts pulses in a row; then heartbeat_due.
WITH before AS (
    SELECT heard_until FROM integrations_listening WHERE id = 1 FOR UPDATE
),
ended AS (
    INSERT INTO integrations_outage (started_at, ended_at, moved_through, moved_count)
    SELECT heard_until, %(now)s::timestamptz, 0, 0 FROM before
    WHERE %(now)s::timestamptz - heard_until > %(deaf_after)s
    RETURNING started_at, ended_at
),
heard AS (
    INSERT INTO integrations_listening (id, heard_until) VALUES (1, %(now)s)
    ON CONFLICT (id) DO UPDATE SET heard_until = EXCLUDED.heard_until
    -- an older pulse takes nothing back, unless the clock was set back
    WHERE EXCLUDED.heard_until > integrations_listening.heard_until
       OR EXCLUDED.heard_until < integrations_listening.heard_until - %(clock_went_back)s
),
listener AS (
    INSERT INTO integrations_listener (process, heard_until, pulsed_at)
    SELECT %(process)s::uuid, %(now)s, %(pulsed_at)s WHERE %(process)s::uuid IS NOT NULL
    ON CONFLICT (process) DO UPDATE SET heard_until = EXCLUDED.heard_until, pulsed_at = EXCLUDED.pulsed_at
)
SELECT ended.started_at, ended.ended_at, EXISTS (
    SELECT 1 FROM integrations_heartbeat
    WHERE state IN ('waiting', 'healthy') AND deadline_at IS NOT NULL AND deadline_at <= %(now)s
      AND (set_aside_until IS NULL OR set_aside_until <= %(now)s)
) AS due, (
    SELECT deadline_at FROM integrations_heartbeat
    WHERE state IN ('waiting', 'healthy') AND deadline_at > %(now)s
    ORDER BY deadline_at
    LIMIT 1
) AS next_deadline
FROM (SELECT) AS pulse
LEFT JOIN ended ON TRUE
