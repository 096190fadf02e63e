-- The newest periods of each of these heartbeats that ended after a time, or have not ended, at most so many of each.
-- Index: state_period_by_end, one_open_state_period, the primary keys; ping_by_integration for a silence that a ping has just ended.
SELECT integration.id, integration.created_at, period.kind, period.started_at, CASE
    WHEN period.ended_at IS NOT NULL THEN period.ended_at
    -- Nobody has written its end yet, see end_periods.sql.
    WHEN period.kind <> heartbeat.state THEN greatest(period.started_at, coalesce((
        SELECT ping.received_at FROM integrations_ping AS ping
        WHERE ping.integration_id = period.integration_id AND ping.received_at >= period.started_at
          AND ping.received_at <= heartbeat.last_ping_at
        ORDER BY ping.received_at, ping.id
        LIMIT 1
    ), heartbeat.last_ping_at))
END AS ended_at
FROM integrations_inboundintegration AS integration
JOIN integrations_heartbeat AS heartbeat ON heartbeat.integration_id = integration.id
LEFT JOIN LATERAL (
    (
        SELECT past.integration_id, past.kind, past.started_at, past.ended_at FROM integrations_stateperiod AS past
        WHERE past.integration_id = integration.id AND past.ended_at > %(since)s
        ORDER BY past.ended_at DESC
        LIMIT %(limit)s
    )
    UNION ALL
    SELECT present.integration_id, present.kind, present.started_at, present.ended_at
    FROM integrations_stateperiod AS present
    WHERE present.integration_id = integration.id AND present.ended_at IS NULL
) AS period ON TRUE
WHERE integration.id = ANY(%(ids)s::bigint[])
