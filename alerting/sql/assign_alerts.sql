-- Assign those of these alerts that are open and have no owner to one person; return the ids that this call assigned.
-- Index: the alerts' primary key. Rows are locked in id order, so that two callers never deadlock.
WITH free AS (
    SELECT id
    FROM alerting_alert
    WHERE id = ANY(%(ids)s::bigint[]) AND organization_id = %(organization)s
      AND status = 'open' AND owner_id IS NULL
    ORDER BY id
    FOR UPDATE
),
assigned AS (
    UPDATE alerting_alert AS alert
    SET status = 'assigned', owner_id = %(owner)s, assigned_at = COALESCE(alert.assigned_at, %(now)s)
    FROM free
    WHERE alert.id = free.id
    RETURNING alert.id
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, actor_id, text, via, how)
    SELECT id, %(now)s, 'assigned', %(actor)s, %(text)s, %(via)s, %(how)s FROM assigned
)
SELECT id FROM assigned ORDER BY id
