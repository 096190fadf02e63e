-- Supersede the pages and last resorts about these alerts that were not sent yet.
-- Index: notification_once, by alert. Rows are locked in id order, so that two callers never deadlock.
WITH unsent AS (
    SELECT id
    FROM escalation_notification
    WHERE alert_id = ANY(%(alerts)s::bigint[]) AND kind IN ('page', 'last_resort') AND status = 'pending'
    ORDER BY id
    FOR NO KEY UPDATE
)
UPDATE escalation_notification AS notification
SET status = 'superseded', next_attempt_at = NULL
FROM unsent
WHERE notification.id = unsent.id
