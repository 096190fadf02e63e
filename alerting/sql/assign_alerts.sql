-- Give those of the given alerts that nobody owns and that are not over to one person; returns the ids that this call gave.
-- Index: the alerts' primary key. Rows are locked in id order, so that two callers never deadlock.
WITH free AS (
    SELECT id
    FROM alerting_alert
    WHERE id = ANY(%(ids)s::bigint[]) AND organization_id = %(organization)s
      AND status IN ('open', 'on_hold') AND owner_id IS NULL
    ORDER BY id
    FOR UPDATE
),
assigned AS (
    UPDATE alerting_alert AS alert
    SET status = 'assigned', owner_id = %(owner)s, hold_until = NULL, assigned_at = COALESCE(alert.assigned_at, %(now)s)
    FROM free
    WHERE alert.id = free.id
    RETURNING alert.id
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, actor_id, text)
    SELECT id, %(now)s, 'assigned', %(actor)s, %(text)s FROM assigned
)
SELECT id FROM assigned ORDER BY id
