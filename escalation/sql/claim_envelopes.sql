-- Lease what of one urgency is due on a channel and has no letterbox to wait for: each message by itself, or again as it was sent before.
-- Index: notification_due_by_urgency, then notification_by_envelope for what travels together.
WITH oldest AS MATERIALIZED (
    SELECT notification.id, notification.envelope
    FROM escalation_notification AS notification
    JOIN accounts_organization AS organization ON organization.id = notification.organization_id
    WHERE notification.channel = %(channel)s AND notification.urgency = %(urgency)s
      AND notification.next_attempt_at <= %(due_by)s
      AND (
        notification.envelope IS NOT NULL OR notification.kind NOT IN ('page', 'last_resort', 'recovery')
        OR notification.contact_method_id IS NULL OR organization.bundle_seconds = 0
      )
    ORDER BY notification.next_attempt_at
    LIMIT %(limit)s
),
-- One worker takes all that travels together: the rows alone would be shared out among those who try at once.
mine AS MATERIALIZED (
    SELECT id
    FROM (SELECT DISTINCT COALESCE(envelope, id) AS id FROM oldest) AS envelope
    WHERE pg_try_advisory_xact_lock(hashtextextended(id::text, 0))
),
member AS (
    SELECT oldest.id, mine.id AS envelope
    FROM mine
    JOIN oldest ON oldest.id = mine.id
    WHERE oldest.envelope IS NULL
    UNION ALL
    SELECT notification.id, mine.id
    FROM mine
    JOIN escalation_notification AS notification ON notification.envelope = mine.id
    WHERE notification.next_attempt_at <= %(due_by)s
),
due AS (
    SELECT notification.id, notification.alert_id, notification.run_id, notification.kind, member.envelope,
        notification.status = 'sending' AS lost
    FROM member
    JOIN escalation_notification AS notification ON notification.id = member.id
    WHERE notification.next_attempt_at <= %(due_by)s
    ORDER BY notification.id
    FOR UPDATE OF notification
),
judged AS (
    SELECT due.id, due.envelope, due.lost,
        CASE
            WHEN due.kind NOT IN ('page', 'last_resort') OR alert.id IS NULL THEN 'sending'
            -- What may have arrived and is never sent again is not kept for later: its failure is all there is to say.
            WHEN alert.status = 'on_hold' AND due.lost AND %(never_again)s THEN 'sending'
            WHEN alert.status = 'on_hold' THEN 'pending'
            WHEN alert.status <> 'open' THEN 'superseded'
            WHEN due.kind = 'page' AND run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL THEN 'superseded'
            ELSE 'sending'
        END AS status
    FROM due
    LEFT JOIN alerting_alert AS alert ON alert.id = due.alert_id
    LEFT JOIN escalation_escalationrun AS run ON run.id = due.run_id
),
written AS (
    UPDATE escalation_notification AS notification
    SET status = judged.status,
        -- What is on hold leaves those it travelled with, and waits for itself.
        envelope = CASE judged.status
            WHEN 'sending' THEN judged.envelope
            WHEN 'superseded' THEN notification.envelope
        END,
        next_attempt_at = CASE judged.status
            WHEN 'sending' THEN %(lease_ends)s::timestamptz
            WHEN 'pending' THEN %(look_again)s::timestamptz
        END,
        attempts = notification.attempts + CASE judged.status WHEN 'sending' THEN 1 ELSE 0 END
    FROM judged
    WHERE notification.id = judged.id
    RETURNING notification.id, notification.alert_id, notification.status, notification.envelope, notification.attempts,
        judged.lost
)
-- Lost: a worker had leased it and never said what came of it.
SELECT envelope, (array_agg(id))[1], count(DISTINCT alert_id), max(attempts), bool_or(lost), count(*)
FROM written
WHERE status = 'sending'
GROUP BY envelope
UNION ALL
SELECT NULL, NULL, 0, 0, FALSE, count(*) FROM written WHERE status <> 'sending'
