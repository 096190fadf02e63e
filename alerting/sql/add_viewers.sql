-- Let people see alerts they are told about; who may see one already is passed over.
-- Index: recipient_once.
INSERT INTO alerting_alertrecipient (alert_id, user_id)
SELECT DISTINCT alert_id, user_id
FROM unnest(%(alerts)s::bigint[], %(users)s::bigint[]) AS told (alert_id, user_id)
ORDER BY alert_id, user_id
ON CONFLICT DO NOTHING
