-- Count what organizations used by day in UTC, each from a time of its own: alerts that opened (no channel), messages by channel.
-- Index: alert_by_time and notification_by_time.
SELECT due.organization_id, counted.day, counted.channel, counted.number
FROM unnest(%(organizations)s::bigint[], %(starts)s::timestamptz[]) AS due (organization_id, starts_at)
CROSS JOIN LATERAL (
    SELECT (opened_at AT TIME ZONE 'UTC')::date AS day, NULL AS channel, count(*) AS number
    FROM alerting_alert
    WHERE organization_id = due.organization_id AND opened_at >= due.starts_at AND opened_at < %(ends_at)s AND NOT is_test
    GROUP BY day
    UNION ALL
    SELECT (accepted_at AT TIME ZONE 'UTC')::date AS day, channel, count(DISTINCT COALESCE(message_id, id))
    FROM escalation_notification
    WHERE organization_id = due.organization_id AND accepted_at >= due.starts_at AND accepted_at < %(ends_at)s
      AND last_error <> %(stored)s
    GROUP BY day, channel
) AS counted
