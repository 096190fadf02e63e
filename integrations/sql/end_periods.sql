-- End the open periods that are no longer the state of their heartbeat, of these heartbeats or of all (NULL): at the first ping after they began, else now.
-- Index: one_open_state_period, the partial index over open periods; the heartbeats' primary key, ping_by_integration.
UPDATE integrations_stateperiod AS period
SET ended_at = greatest(period.started_at, CASE
    -- A disabled heartbeat's pings do not enable it.
    WHEN period.kind = 'disabled' THEN %(now)s::timestamptz
    ELSE least(%(now)s::timestamptz, (
        SELECT ping.received_at FROM integrations_ping AS ping
        WHERE ping.integration_id = period.integration_id AND ping.received_at >= period.started_at
          AND ping.received_at <= %(now)s::timestamptz
        ORDER BY ping.received_at, ping.id
        LIMIT 1
    ))
END)
FROM integrations_heartbeat AS heartbeat
WHERE period.ended_at IS NULL
  AND (%(ids)s::bigint[] IS NULL OR period.integration_id = ANY(%(ids)s::bigint[]))
  AND heartbeat.integration_id = period.integration_id AND heartbeat.state <> period.kind
