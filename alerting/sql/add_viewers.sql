-- Let users see the alerts that they are notified of; rows that exist already are ignored.
-- Index: recipient_once. Rows are inserted in one order, so that two callers never deadlock.
INSERT INTO alerting_alertrecipient (alert_id, user_id)
SELECT DISTINCT alert_id, user_id
FROM unnest(%(alerts)s::bigint[], %(users)s::bigint[]) AS notified (alert_id, user_id)
ORDER BY alert_id, user_id
ON CONFLICT DO NOTHING
