-- The time since which the oldest due notification has been due; NULL if none is due.
-- Index: notification_due_by_priority, a few look-ups for each channel and urgency that exists, however many notifications are due.
-- A loose index scan, as in due_levels.
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
SELECT min(due.next_attempt_at)
FROM level
-- Rank by rank, in the order of the index: otherwise the planner reads rows that are not due yet, or the whole table.
CROSS JOIN (VALUES (0), (1), (2), (3), (4)) AS priority (rank)
CROSS JOIN LATERAL (
    SELECT notification.next_attempt_at
    FROM escalation_notification AS notification
    WHERE notification.channel = level.channel AND notification.urgency = level.urgency
      AND notification.priority_rank = priority.rank AND notification.next_attempt_at <= %(now)s
    ORDER BY notification.next_attempt_at
    LIMIT 1
) AS due
