-- Make recovery notices due that waited for the outcome of these notifications; supersede them if their reader was not notified.
-- Index: the notifications' primary key, then notification_once by alert. Rows are locked in id order.
WITH settled AS (
    SELECT DISTINCT alert_id, user_id, CASE WHEN user_id IS NULL THEN contact_method_id END AS contact_method_id
    FROM escalation_notification
    WHERE id = ANY(%(ids)s::uuid[]) AND kind IN ('page', 'last_resort', 'assignment', 'reminder')
),
waiting AS (
    SELECT recovery.id, settled.*
    FROM settled
    JOIN escalation_notification AS recovery
      ON recovery.alert_id = settled.alert_id AND recovery.kind = 'recovery'
      AND (recovery.user_id = settled.user_id OR recovery.contact_method_id = settled.contact_method_id)
    WHERE recovery.status = 'pending' AND recovery.attempts = 0 AND recovery.next_attempt_at > %(now)s
    ORDER BY recovery.id
    FOR UPDATE OF recovery
),
judged AS (
    SELECT waiting.id,
        -- A try with an unknown outcome counts: the reader may have been notified.
        bool_or(tried.status IN ('accepted', 'delivered') OR tried.unknown_outcomes > 0) AS notified,
        bool_or(tried.status = 'sending') AS under_way
    FROM waiting
    JOIN escalation_notification AS tried
      ON tried.alert_id = waiting.alert_id
      AND (tried.user_id = waiting.user_id OR tried.contact_method_id = waiting.contact_method_id)
    WHERE tried.kind IN ('page', 'last_resort', 'assignment', 'reminder')
    GROUP BY waiting.id
)
UPDATE escalation_notification AS notification
SET status = CASE WHEN judged.notified THEN 'pending' ELSE 'superseded' END,
    next_attempt_at = CASE WHEN judged.notified THEN %(now)s::timestamptz END
FROM judged
-- While nothing has arrived and something is still being sent, the notice waits on.
WHERE notification.id = judged.id AND (judged.notified OR NOT judged.under_way)
