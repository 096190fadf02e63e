-- Open those of these alerts that are live again, without owner, acknowledgement and hold, and write an entry into their timelines; return their ids.
-- Index: the alerts' primary key. Rows are locked in id order, so that two callers never deadlock.
WITH line AS (
    SELECT * FROM json_to_recordset(%(lines)s::json) AS line (alert_id bigint, text text)
),
live AS (
    SELECT id
    FROM alerting_alert
    WHERE id IN (SELECT alert_id FROM line) AND status IN ('open', 'assigned', 'on_hold')
    ORDER BY id
    FOR NO KEY UPDATE
),
opened AS (
    UPDATE alerting_alert AS alert
    SET status = 'open', owner_id = NULL, acknowledged_at = NULL, acknowledged_by_id = NULL, hold_until = NULL
    FROM live
    WHERE alert.id = live.id
    RETURNING alert.id
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, text)
    SELECT opened.id, %(now)s, 'reopened', line.text FROM opened JOIN line ON line.alert_id = opened.id
)
SELECT id FROM opened ORDER BY id
