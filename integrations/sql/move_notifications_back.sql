-- Move the times of the next messages that wait, by id, back by a step of the clock; returns the last id. What is being sent is its worker's.
-- Index: the notifications' primary key, or notification_due_by_priority where little waits.
WITH batch AS (
    SELECT id, status
    FROM escalation_notification
    WHERE next_attempt_at IS NOT NULL AND id > %(after)s::uuid
    ORDER BY id
    LIMIT %(limit)s
    FOR UPDATE
),
moved AS (
    UPDATE escalation_notification AS notification
    SET next_attempt_at = next_attempt_at - %(by)s::interval, created_at = created_at - %(by)s::interval,
        limited_since = limited_since - %(by)s::interval, failing_since = failing_since - %(by)s::interval,
        expedited_at = expedited_at - %(by)s::interval
    FROM batch
    WHERE notification.id = batch.id AND batch.status = 'pending'
)
SELECT id FROM batch ORDER BY id DESC LIMIT 1
