-- Mark locked heartbeats missed whose deadline has passed; returns what their alerts need to know, by id.
-- Index: the heartbeats' and integrations' primary keys; the recipients' indexes on the integration.
WITH missed AS (
    UPDATE integrations_heartbeat
    SET state = 'missed', set_aside_until = NULL, error = ''
    WHERE integration_id = ANY(%(ids)s::bigint[]) AND state IN ('waiting', 'healthy') AND deadline_at <= %(now)s
    RETURNING *
)
SELECT integration.id, integration.organization_id, integration.name, integration.escalation_policy_id,
    integration.response_play_id, integration.bridge_id, missed.interval_minutes, missed.grace_minutes,
    ARRAY(
        SELECT named.group_id FROM integrations_inboundintegration_recipient_groups AS named
        WHERE named.inboundintegration_id = integration.id
        ORDER BY named.id
    ) AS group_ids,
    ARRAY(
        SELECT named.user_id FROM integrations_inboundintegration_recipient_users AS named
        WHERE named.inboundintegration_id = integration.id
        ORDER BY named.id
    ) AS user_ids,
    -- RFC 3339, in the session's time zone
    to_json(missed.last_ping_at) #>> '{}', to_json(missed.deadline_at) #>> '{}'
FROM missed
JOIN integrations_inboundintegration AS integration ON integration.id = missed.integration_id
ORDER BY integration.id
