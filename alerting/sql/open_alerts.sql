-- Open an alert for each draft, with its recipients and the first line of its timeline; returns the ids in the drafts' order.
-- Index: none is read; the unique indexes of alerting_alert refuse a second alert for one heartbeat or one silence.
WITH draft AS MATERIALIZED (
    SELECT nextval('alerting_alert_id_seq') AS id, given.*
    FROM ROWS FROM (
        unnest(%(organizations)s::bigint[]), json_array_elements_text(%(priorities)s::json),
        json_array_elements_text(%(subjects)s::json), json_array_elements_text(%(short_texts)s::json),
        json_array_elements_text(%(long_texts)s::json), json_array_elements(%(facts)s::json),
        json_array_elements_text(%(sources)s::json), json_array_elements_text(%(source_names)s::json),
        json_array_elements_text(%(source_ids)s::json), unnest(%(integrations)s::bigint[]),
        json_array_elements_text(%(expected)s::json), unnest(%(bridges)s::bigint[]), unnest(%(actors)s::bigint[]),
        json_array_elements_text(%(tests)s::json)
    ) WITH ORDINALITY AS given (
        organization_id, priority, subject, short_text, long_text, facts, source, source_name, source_id, integration_id,
        expected_at, bridge_id, actor_id, is_test, number
    )
),
opened AS (
    INSERT INTO alerting_alert (
        id, organization_id, status, priority, subject, short_text, long_text, facts, source, source_name, source_id,
        integration_id, expected_at, bridge_id, opened_at, close_reason, is_test
    )
    SELECT id, organization_id, 'open', priority, subject, short_text, long_text, facts::jsonb, source, source_name,
        source_id, integration_id, expected_at::timestamptz, bridge_id, %(now)s, '', is_test::boolean
    FROM draft
),
addressed AS (
    INSERT INTO alerting_alertrecipient (alert_id, group_id, user_id)
    SELECT draft.id, recipient.group_id, recipient.user_id
    FROM unnest(%(recipients)s::bigint[], %(groups)s::bigint[], %(users)s::bigint[])
        AS recipient (number, group_id, user_id)
    JOIN draft USING (number)
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, actor_id, text)
    SELECT id, %(now)s, 'opened', actor_id, 'Opened: ' || subject || '.' FROM draft
)
SELECT id FROM draft ORDER BY number
