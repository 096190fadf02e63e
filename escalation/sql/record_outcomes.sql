-- Write down what became of messages, for each notification that travelled in them while the lease was still the caller's.
-- Index: notification_by_envelope. Rows are locked in id order; the line in each alert's timeline is in the same statement.
WITH outcome AS (
    SELECT *
    FROM unnest(
        %(envelopes)s::uuid[], %(leases)s::timestamptz[], %(statuses)s::text[], %(next)s::timestamptz[],
        %(provider_ids)s::text[], %(errors)s::text[], %(tried)s::boolean[], %(line_kinds)s::text[],
        %(lines)s::text[]
    ) AS outcome (envelope, lease, status, next_attempt_at, provider_id, error, tried, line_kind, line)
),
mine AS (
    SELECT notification.id, outcome.*
    FROM outcome
    JOIN escalation_notification AS notification ON notification.envelope = outcome.envelope
    WHERE notification.status = 'sending' AND notification.next_attempt_at = outcome.lease
    ORDER BY notification.id
    FOR UPDATE OF notification
),
written AS (
    UPDATE escalation_notification AS notification
    SET status = mine.status,
        next_attempt_at = mine.next_attempt_at,
        accepted_at = CASE mine.status WHEN 'accepted' THEN %(now)s::timestamptz END,
        attempts = notification.attempts - CASE WHEN mine.tried THEN 0 ELSE 1 END,
        provider_id = mine.provider_id,
        last_error = mine.error
    FROM mine
    WHERE notification.id = mine.id
    RETURNING notification.id, notification.envelope, notification.alert_id, mine.line_kind, mine.line
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, text)
    SELECT alert_id, %(now)s::timestamptz, line_kind, line
    FROM written
    WHERE line <> '' AND alert_id IS NOT NULL
)
SELECT envelope, array_agg(id) FROM written GROUP BY envelope
