-- Open an alert for each draft, with its recipients and the first line of its timeline; returns the ids in the drafts' order.
-- Index: none is read; the unique indexes of alerting_alert refuse a second alert for one heartbeat or one silence.
WITH draft AS MATERIALIZED (
    SELECT nextval('alerting_alert_id_seq') AS id, given.*
    FROM json_to_recordset(%(drafts)s::json) AS given (
        number bigint, organization_id bigint, priority text, subject text, short_text text, long_text text, facts jsonb,
        source text, source_name text, source_id text, integration_id bigint, expected_at timestamptz, bridge_id bigint,
        actor_id bigint
    )
    ORDER BY number
),
opened AS (
    INSERT INTO alerting_alert (
        id, organization_id, status, priority, subject, short_text, long_text, facts, source, source_name, source_id,
        integration_id, expected_at, bridge_id, opened_at, close_reason
    )
    SELECT id, organization_id, 'open', priority, subject, short_text, long_text, facts, source, source_name, source_id,
        integration_id, expected_at, bridge_id, %(now)s, ''
    FROM draft
),
addressed AS (
    INSERT INTO alerting_alertrecipient (alert_id, group_id, user_id)
    SELECT draft.id, recipient.group_id, recipient.user_id
    FROM json_to_recordset(%(recipients)s::json) AS recipient (number bigint, group_id bigint, user_id bigint)
    JOIN draft USING (number)
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, actor_id, text)
    SELECT id, %(now)s, 'opened', actor_id, 'Opened: ' || subject || '.' FROM draft
)
SELECT id FROM draft ORDER BY number
