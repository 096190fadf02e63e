-- Use now what was to be used later to reach the people whose pages failed; returns who has something left to be sent.
-- Index: the notifications' primary key, then notification_once by alert. Rows are locked in id order.
WITH failed AS (
    SELECT alert_id, user_id, step, min(urgency) AS urgency
    FROM escalation_notification
    WHERE id = ANY(%(ids)s::uuid[])
    GROUP BY alert_id, user_id, step
),
later AS (
    SELECT notification.id, LEAST(notification.urgency, failed.urgency) AS urgency
    FROM failed
    JOIN escalation_notification AS notification
      ON notification.alert_id = failed.alert_id AND notification.user_id = failed.user_id
      AND notification.step = failed.step
    WHERE notification.kind = 'page' AND notification.status = 'pending' AND notification.attempts = 0
      AND notification.repeat = 0
      AND notification.next_attempt_at > %(now)s
    ORDER BY notification.id
    FOR UPDATE OF notification
)
UPDATE escalation_notification AS notification
SET next_attempt_at = %(now)s, urgency = later.urgency, in_time = TRUE
FROM later
WHERE notification.id = later.id
RETURNING notification.run_id, notification.user_id, notification.step
