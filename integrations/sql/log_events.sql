-- Write one line of the same kind into the log of each heartbeat.
-- Index: none is read.
INSERT INTO integrations_heartbeatevent (integration_id, at, kind, text)
SELECT integration_id, %(now)s, %(kind)s, text
FROM json_to_recordset(%(lines)s::json) AS line (integration_id bigint, text text)
