-- Make these messages due now instead of later: each takes the place of one that failed, and is as urgent as that one.
-- Index: the notifications' primary key. Rows are locked in id order; rows that another worker has claimed meanwhile are skipped.
WITH chosen AS (
    SELECT notification.id, choice.urgency, choice.counts
    FROM unnest(%(ids)s::uuid[], %(urgencies)s::smallint[], %(counts)s::boolean[]) AS choice (id, urgency, counts)
    JOIN escalation_notification AS notification ON notification.id = choice.id
    WHERE notification.status = 'pending' AND notification.attempts = 0 AND notification.next_attempt_at > %(now)s
    ORDER BY notification.id
    FOR UPDATE OF notification
)
UPDATE escalation_notification AS notification
SET next_attempt_at = %(now)s, urgency = LEAST(notification.urgency, chosen.urgency), in_time = chosen.counts
FROM chosen
WHERE notification.id = chosen.id
RETURNING notification.alert_id, notification.run_id, notification.user_id, notification.step
