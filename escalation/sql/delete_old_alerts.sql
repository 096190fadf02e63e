-- Delete alerts that ended before a time, the oldest first, with the rows that belong to them alone; returns their number.
-- Index: alert_by_end, then by alert: timeline_by_alert, recipient_once, member_once, response_once, notification_once, and the runs' own.
WITH old AS MATERIALIZED (
    SELECT id
    FROM alerting_alert
    WHERE closed_at < %(before)s
    ORDER BY closed_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
notification AS (DELETE FROM escalation_notification WHERE alert_id IN (SELECT id FROM old)),
response AS (DELETE FROM escalation_response WHERE alert_id IN (SELECT id FROM old)),
run AS (DELETE FROM escalation_escalationrun WHERE alert_id IN (SELECT id FROM old)),
timeline AS (DELETE FROM alerting_timelineentry WHERE alert_id IN (SELECT id FROM old)),
member AS (DELETE FROM alerting_alertmember WHERE alert_id IN (SELECT id FROM old)),
recipient AS (DELETE FROM alerting_alertrecipient WHERE alert_id IN (SELECT id FROM old)),
alert AS (DELETE FROM alerting_alert WHERE id IN (SELECT id FROM old))
SELECT count(*) FROM old
