-- Open an alert for each draft, with its recipients and the first entry of its timeline; return the ids in the drafts' order.
-- Index: alerting_bridge_pkey; the unique indexes of alerting_alert refuse a second live alert of a heartbeat, or a second one for a deadline.
-- MATERIALIZED, because the id of each draft must be drawn once and then used by all three inserts.
WITH draft AS MATERIALIZED (
    SELECT nextval('alerting_alert_id_seq') AS id, input.*
    FROM ROWS FROM (
        unnest(%(organizations)s::bigint[]), json_array_elements_text(%(priorities)s::json),
        json_array_elements_text(%(subjects)s::json), json_array_elements_text(%(short_texts)s::json),
        json_array_elements_text(%(long_texts)s::json), json_array_elements(%(facts)s::json),
        json_array_elements_text(%(sources)s::json), json_array_elements_text(%(source_names)s::json),
        json_array_elements_text(%(source_ids)s::json), unnest(%(integrations)s::bigint[]),
        json_array_elements_text(%(expected)s::json), unnest(%(bridges)s::bigint[]), unnest(%(actors)s::bigint[]),
        json_array_elements_text(%(tests)s::json), json_array_elements_text(%(types)s::json),
        json_array_elements_text(%(keys)s::json), json_array_elements_text(%(urls)s::json),
        json_array_elements_text(%(closing)s::json), json_array_elements_text(%(openings)s::json)
    ) WITH ORDINALITY AS input (
        organization_id, priority, subject, short_text, long_text, facts, source, source_name, source_id, integration_id,
        expected_at, bridge_id, actor_id, is_test, integration_type, key_hash, url, closes_at, opening, number
    )
),
opened AS (
    INSERT INTO alerting_alert (
        id, organization_id, status, priority, subject, short_text, long_text, facts, source, source_name, source_id,
        integration_id, expected_at, bridge_id, bridge_copy, opened_at, close_reason, is_test, integration_type, key_hash,
        url, closes_at, event_count, last_event_at
    )
    SELECT id, organization_id, 'open', priority, subject, short_text, long_text, facts::jsonb, source, source_name,
        source_id, integration_id, expected_at::timestamptz, bridge_id,
        (
            SELECT jsonb_build_object(
                'id', bridge.id, 'name', bridge.name, 'phone_number', bridge.phone_number,
                'access_code', bridge.access_code, 'meeting_url', bridge.meeting_url
            )
            FROM alerting_bridge AS bridge WHERE bridge.id = draft.bridge_id
        ),
        %(now)s, '', is_test::boolean, integration_type, key_hash, url, closes_at::timestamptz,
        -- Alerts without a key were not opened by an event.
        (key_hash <> '')::integer, CASE WHEN key_hash <> '' THEN %(now)s::timestamptz END
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
    SELECT id, %(now)s, 'opened', actor_id, opening || ': ' || subject || '.' FROM draft
)
SELECT id FROM draft ORDER BY number
