-- Write entries of one kind, without an actor, into the timelines of alerts.
-- Index: none is read.
INSERT INTO alerting_timelineentry (alert_id, at, kind, text)
SELECT alert_id, %(now)s, %(kind)s, text
FROM json_to_recordset(%(lines)s::json) AS line (alert_id bigint, text text)
