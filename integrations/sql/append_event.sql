-- Append an event to the live alert of its key: count it, take its texts, and write at most one line a minute into the timeline.
-- Index: one_live_alert_per_key, timeline_by_alert; member_once for alerts with members, whose texts stay.
WITH changed AS (
    UPDATE alerting_alert AS alert
    SET event_count = alert.event_count + 1, last_event_at = %(now)s, closes_at = %(closes_at)s,
        subject = CASE WHEN member.id IS NULL THEN %(subject)s ELSE alert.subject END,
        short_text = CASE WHEN member.id IS NULL THEN %(short_text)s ELSE alert.short_text END,
        long_text = CASE WHEN member.id IS NULL THEN %(long_text)s ELSE alert.long_text END,
        url = COALESCE(NULLIF(%(url)s, ''), alert.url)
    FROM (SELECT) AS one
    LEFT JOIN LATERAL (
        SELECT member.id
        FROM alerting_alert AS own
        JOIN alerting_alertmember AS member ON member.alert_id = own.id AND member.key_hash = %(key)s
        WHERE own.integration_id = %(integration)s AND own.key_hash = %(key)s
          AND own.status IN ('open', 'assigned', 'on_hold')
    ) AS member ON true
    WHERE alert.integration_id = %(integration)s AND alert.key_hash = %(key)s
      AND alert.status IN ('open', 'assigned', 'on_hold')
    RETURNING alert.id, alert.status, alert.priority, alert.event_count, member.id AS member_id
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, text)
    SELECT id, %(now)s, 'updated', 'Update ' || event_count - 1 || ' from ' || %(name)s || ': ' || %(subject)s || '.'
    FROM changed
    WHERE NOT EXISTS (
        SELECT FROM alerting_timelineentry AS earlier
        WHERE earlier.alert_id = changed.id AND earlier.kind = 'updated'
          AND earlier.at > %(now)s::timestamptz - interval '1 minute'
    )
)
SELECT id, status, priority, member_id FROM changed
