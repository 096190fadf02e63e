-- The pairs of channel and urgency of which notifications are due, in this order.
-- Index: notification_due_by_priority, a few look-ups for each pair that exists, however many notifications are due.
-- A loose index scan: each step of the recursion jumps to the next pair, instead of reading all rows of a pair.
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
    -- Rank by rank, in the order of the index: otherwise the planner reads rows that are not due yet, or the whole table.
    SELECT
    FROM (VALUES (0), (1), (2), (3), (4)) AS priority (rank)
    CROSS JOIN LATERAL (
        SELECT
        FROM escalation_notification AS notification
        WHERE notification.channel = level.channel AND notification.urgency = level.urgency
          AND notification.priority_rank = priority.rank AND notification.next_attempt_at <= %(due_by)s
        ORDER BY notification.next_attempt_at
        LIMIT 1
    ) AS due
)
ORDER BY channel, urgency
