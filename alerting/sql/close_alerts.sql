-- Close those of these alerts that are live and write an entry into their timelines; return the ids that this call closed.
-- Index: the alerts' primary key. Rows are locked in id order, so that two callers never deadlock.
WITH live AS (
    SELECT id
    FROM alerting_alert
    WHERE id = ANY(%(ids)s::bigint[]) AND status IN ('open', 'assigned', 'on_hold')
    ORDER BY id
    FOR UPDATE
),
closed AS (
    UPDATE alerting_alert AS alert
    SET status = 'closed', closed_at = %(now)s, close_reason = %(reason)s, hold_until = NULL
    FROM live
    WHERE alert.id = live.id
    RETURNING alert.id
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, actor_id, text)
    SELECT id, %(now)s, 'closed', %(actor)s, %(text)s FROM closed
)
SELECT id FROM closed ORDER BY id
