-- Return the integrations that have keys whose delay has passed, the one that waits longest first. An integration is one look-up, however many keys it has.
-- Index: event_key_due_of.
WITH RECURSIVE oldest (integration_id, due_at) AS (
    (
        SELECT integration_id, due_at
        FROM integrations_eventkey
        WHERE due_at IS NOT NULL
        ORDER BY integration_id, due_at
        LIMIT 1
    )
    UNION ALL
    SELECT following.integration_id, following.due_at
    FROM oldest
    CROSS JOIN LATERAL (
        SELECT integration_id, due_at
        FROM integrations_eventkey
        WHERE due_at IS NOT NULL AND integration_id > oldest.integration_id
        ORDER BY integration_id, due_at
        LIMIT 1
    ) AS following
)
SELECT integration_id
FROM oldest
WHERE due_at <= %(now)s::timestamptz
ORDER BY due_at
LIMIT %(limit)s
