-- On which channels something is due, and of which urgency, the most urgent first.
-- Index: notification_due_by_urgency, one look for each pair of the two that there is, however much is due.
WITH RECURSIVE level AS (
    (
        SELECT channel, urgency
        FROM escalation_notification
        WHERE next_attempt_at IS NOT NULL
        ORDER BY channel, urgency
        LIMIT 1
    )
    UNION ALL
    SELECT next.channel, next.urgency
    FROM level
    CROSS JOIN LATERAL (
        SELECT notification.channel, notification.urgency
        FROM escalation_notification AS notification
        WHERE notification.next_attempt_at IS NOT NULL
          AND (notification.channel, notification.urgency) > (level.channel, level.urgency)
        ORDER BY notification.channel, notification.urgency
        LIMIT 1
    ) AS next
)
SELECT channel, urgency
FROM level
WHERE EXISTS (
    SELECT
    FROM escalation_notification AS notification
    WHERE notification.channel = level.channel AND notification.urgency = level.urgency
      AND notification.next_attempt_at <= %(due_by)s
)
ORDER BY channel, urgency
