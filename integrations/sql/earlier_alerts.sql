-- Live heartbeat alerts of these integrations.
-- Index: one_live_alert_per_heartbeat.
SELECT id, integration_id
FROM alerting_alert
WHERE integration_id = ANY(%(ids)s::bigint[]) AND integration_type = 'heartbeat' AND status IN ('open', 'assigned', 'on_hold')
