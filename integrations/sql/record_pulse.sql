-- Commit a pulse that came back, for the time at which it was sent; returns the outage that it ended, or nulls, whether it counts, whether a deadline has passed, and the next one.
-- Index: the primary keys of integrations_ingeststate, whose one row's lock puts pulses in a row, and of integrations_ingestprocess; the unique indexes on integrations_inboundintegration.token and integrations_formertoken.token; then heartbeat_due.
WITH before AS (
    SELECT stored_until, outage_until FROM integrations_ingeststate WHERE id = 1 FOR UPDATE
),
refused AS (
    -- Requests to addresses that are no heartbeat's lose no ping.
    SELECT CASE WHEN EXISTS (
        SELECT 1 FROM integrations_inboundintegration WHERE token = ANY(%(refused_tokens)s::text[])
    ) OR EXISTS (
        SELECT 1 FROM integrations_formertoken WHERE token = ANY(%(refused_tokens)s::text[]) AND ends_at > %(now)s
    ) THEN %(refused)s::int ELSE 0 END AS pings
),
joining AS (
    -- The process is new, and no other is known to have listened since its first pulse: those before it may have ended.
    -- Undecided while another one may still be alive: then this pulse does not count, and the next one decides.
    SELECT EXISTS (
        SELECT 1 FROM integrations_ingestprocess AS other
        WHERE other.process <> %(process)s::uuid AND other.stored_until > %(now)s::timestamptz - %(deaf_after)s
    ) AS undecided
    FROM before
    WHERE before.stored_until < %(first_sent_at)s::timestamptz
      AND NOT EXISTS (SELECT 1 FROM integrations_ingestprocess WHERE process = %(process)s::uuid)
),
ended AS (
    INSERT INTO integrations_outage (started_at, ended_at, refused_pings, moved_through, moved_count)
    SELECT deaf_since, until, pings, 0, 0
    FROM (
        SELECT refused.pings,
        -- pings were refused until the commit, which may be long after this pulse was sent
        CASE WHEN refused.pings > 0 THEN greatest(%(now)s, %(committed_at)s) ELSE %(now)s END AS until,
        CASE
            -- since its last pulse that counts, or the end of an outage that another process's pulse ended meanwhile
            WHEN refused.pings > 0 THEN greatest(
                coalesce((SELECT stored_until FROM integrations_ingestprocess WHERE process = %(process)s::uuid), before.stored_until),
                before.outage_until)
            WHEN %(now)s::timestamptz - before.stored_until >= %(deaf_after)s
                OR EXISTS (SELECT 1 FROM joining WHERE NOT undecided) THEN before.stored_until
        END AS deaf_since
        FROM before CROSS JOIN refused
        WHERE NOT EXISTS (SELECT 1 FROM joining WHERE undecided)
    ) AS deaf
    WHERE deaf_since < until
    RETURNING started_at, ended_at
),
counted AS (
    INSERT INTO integrations_ingeststate AS ingest_state (id, stored_until)
    SELECT 1, %(now)s WHERE NOT EXISTS (SELECT 1 FROM joining WHERE undecided)
    -- an older pulse takes nothing back, unless the clock was set back
    ON CONFLICT (id) DO UPDATE SET
        stored_until = CASE WHEN EXCLUDED.stored_until > ingest_state.stored_until
            OR EXCLUDED.stored_until < ingest_state.stored_until - %(clock_went_back)s
            THEN EXCLUDED.stored_until ELSE ingest_state.stored_until END,
        outage_until = coalesce((SELECT ended_at FROM ended), ingest_state.outage_until)
    RETURNING id
),
ingest_process AS (
    INSERT INTO integrations_ingestprocess (process, stored_until, pulsed_at)
    SELECT %(process)s::uuid, %(now)s, %(committed_at)s FROM counted WHERE %(process)s::uuid IS NOT NULL
    ON CONFLICT (process) DO UPDATE SET stored_until = EXCLUDED.stored_until, pulsed_at = EXCLUDED.pulsed_at
)
SELECT ended.started_at, ended.ended_at, EXISTS (SELECT 1 FROM counted) AS counts, (
    SELECT deadline_at FROM integrations_heartbeat
    WHERE state IN ('waiting', 'healthy') AND deadline_at <= %(now)s
      AND (quarantined_until IS NULL OR quarantined_until <= %(now)s)
    -- In the order of the index. Without it, the planner counts on meeting such a row soon, by the many deadlines that
    -- have passed after a mass outage; but those are of missed heartbeats, so that it would read the whole table.
    ORDER BY deadline_at
    LIMIT 1
) IS NOT NULL AS due, (
    SELECT deadline_at FROM integrations_heartbeat
    WHERE state IN ('waiting', 'healthy') AND deadline_at > %(now)s
    ORDER BY deadline_at
    LIMIT 1
) AS next_deadline
FROM (SELECT) AS pulse
LEFT JOIN ended ON TRUE
