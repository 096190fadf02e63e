-- Mark locked heartbeats missed whose deadline has passed; returns what their alerts need to know, by id.
-- Index: the heartbeats' and integrations' primary keys; the recipients' indexes on the integration.
WITH missed AS (
    UPDATE integrations_heartbeat
    SET state = 'missed', quarantined_until = NULL, error = ''
    WHERE integration_id = ANY(%(ids)s::bigint[]) AND state IN ('waiting', 'healthy') AND deadline_at <= %(now)s
    RETURNING *
)
SELECT integration.id, integration.organization_id, integration.name, integration.escalation_policy_id,
    integration.response_play_id, integration.bridge_id, missed.interval_minutes, missed.grace_minutes,
    ARRAY(
        SELECT recipient.group_id FROM integrations_inboundintegration_recipient_groups AS recipient
        WHERE recipient.inboundintegration_id = integration.id
        ORDER BY recipient.id
    ) AS group_ids,
    ARRAY(
        SELECT recipient.user_id FROM integrations_inboundintegration_recipient_users AS recipient
        WHERE recipient.inboundintegration_id = integration.id
        ORDER BY recipient.id
    ) AS user_ids,
    integration.priority,
    -- RFC 3339, in the session's time zone
    to_json(missed.last_ping_at) #>> '{}', to_json(missed.deadline_at) #>> '{}'
FROM missed
JOIN integrations_inboundintegration AS integration ON integration.id = missed.integration_id
ORDER BY integration.id
