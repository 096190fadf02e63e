-- Pages of open alerts that are due for too long without a first try, and are not marked as held back yet.
-- Index: notification_due_by_priority, rank by rank on each channel.
WITH candidate AS MATERIALIZED (
    SELECT due.id
    FROM unnest(%(channels)s::text[], %(urgencies)s::integer[]) AS level (channel, urgency)
    CROSS JOIN (VALUES (0), (1), (2), (3), (4)) AS priority (rank)
    CROSS JOIN LATERAL (
        SELECT notification.id
        FROM escalation_notification AS notification
        WHERE notification.channel = level.channel AND notification.urgency = level.urgency
          AND notification.priority_rank = priority.rank
          AND notification.next_attempt_at <= %(now)s::timestamptz - %(too_long)s::interval
          AND notification.status = 'pending' AND notification.attempts = 0 AND notification.limited_since IS NULL
          AND notification.last_error <> %(held)s AND notification.kind = ANY (%(kinds)s::text[])
        ORDER BY notification.next_attempt_at
        LIMIT %(limit)s
    ) AS due
    LIMIT %(limit)s
)
SELECT candidate.id
FROM candidate
JOIN escalation_notification AS notification ON notification.id = candidate.id
JOIN alerting_alert AS alert ON alert.id = notification.alert_id
WHERE alert.status = 'open'
