-- Live heartbeat alerts whose heartbeat is no longer silent, with what ended the silence.
-- Index: one_live_alert_per_heartbeat (only live alerts are read), then the heartbeats' primary key.
SELECT alert.id, heartbeat.integration_id, heartbeat.last_ping_at
FROM alerting_alert AS alert
JOIN integrations_heartbeat AS heartbeat ON heartbeat.integration_id = alert.integration_id
WHERE alert.status IN ('open', 'assigned', 'on_hold') AND alert.integration_type = 'heartbeat'
  AND heartbeat.state IN ('waiting', 'healthy')
  AND (%(only)s::bigint[] IS NULL OR alert.integration_id = ANY(%(only)s::bigint[]))
ORDER BY heartbeat.integration_id
LIMIT %(limit)s
FOR UPDATE OF heartbeat SKIP LOCKED
