-- Append events to the live alerts of their keys: count them, take their texts, and write at most one line a minute into each timeline.
-- Index: one_live_alert_per_key, timeline_by_alert; member_once for alerts with members, whose texts stay.
-- Rows are locked in id order, so that two callers never deadlock. Keys differ, so no alert is there twice.
WITH found AS MATERIALIZED (
    SELECT event.*, alert.id AS alert_id
    FROM json_to_recordset(%(events)s::json) AS event (
        number integer, key text, subject text, short_text text, long_text text, url text
    )
    JOIN alerting_alert AS alert
      ON alert.integration_id = %(integration)s AND alert.key_hash = event.key
      -- The condition of the index, as it stands there: without it, all alerts of the integration are read.
      AND alert.status IN ('open', 'assigned', 'on_hold') AND alert.key_hash <> ''
    ORDER BY alert.id
    FOR NO KEY UPDATE OF alert
),
changed AS (
    UPDATE alerting_alert AS alert
    SET event_count = alert.event_count + 1, last_event_at = %(now)s::timestamptz, closes_at = %(closes_at)s::timestamptz,
        subject = CASE WHEN member.id IS NULL THEN found.subject ELSE alert.subject END,
        short_text = CASE WHEN member.id IS NULL THEN found.short_text ELSE alert.short_text END,
        long_text = CASE WHEN member.id IS NULL THEN found.long_text ELSE alert.long_text END,
        url = COALESCE(NULLIF(found.url, ''), alert.url)
    FROM found
    LEFT JOIN alerting_alertmember AS member ON member.alert_id = found.alert_id AND member.key_hash = found.key
    WHERE alert.id = found.alert_id
    RETURNING found.number, alert.id, alert.status, alert.priority, alert.event_count, member.id AS member_id, found.subject
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, text)
    SELECT id, %(now)s::timestamptz, 'updated',
        'Update ' || event_count - 1 || ' from ' || %(name)s::text || ': ' || subject || '.'
    FROM changed
    WHERE NOT EXISTS (
        SELECT FROM alerting_timelineentry AS earlier
        WHERE earlier.alert_id = changed.id AND earlier.kind = 'updated'
          AND earlier.at > %(now)s::timestamptz - interval '1 minute'
    )
)
SELECT number, id, status, priority, member_id FROM changed
