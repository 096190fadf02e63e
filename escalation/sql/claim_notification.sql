-- Take the notification that is due longest: lease it for sending, or put it off or away where its alert says so.
-- Index: notification_due, the partial index on next_attempt_at over unsent rows.
WITH due AS (
    SELECT id
    FROM escalation_notification
    WHERE next_attempt_at <= %(now)s
    ORDER BY next_attempt_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
),
judged AS (
    SELECT notification.id,
        CASE
            WHEN notification.kind NOT IN ('page', 'last_resort') OR alert.id IS NULL THEN 'sending'
            WHEN alert.status = 'on_hold' THEN 'pending'
            WHEN alert.status <> 'open' THEN 'superseded'
            WHEN notification.kind = 'page' AND run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL
                THEN 'superseded'
            ELSE 'sending'
        END AS status
    FROM due
    JOIN escalation_notification AS notification ON notification.id = due.id
    LEFT JOIN alerting_alert AS alert ON alert.id = notification.alert_id
    LEFT JOIN escalation_escalationrun AS run ON run.id = notification.run_id
)
UPDATE escalation_notification AS notification
SET status = judged.status,
    attempts = notification.attempts + CASE WHEN judged.status = 'sending' THEN 1 ELSE 0 END,
    next_attempt_at = CASE judged.status
        WHEN 'sending' THEN %(lease_ends)s::timestamptz
        WHEN 'pending' THEN %(look_again)s::timestamptz
    END
FROM judged
WHERE notification.id = judged.id
RETURNING notification.id, notification.status
