-- End the escalations of active alerts that follow this policy or play, with a timeline entry; returns the alerts' ids.
-- Index: alert_by_status, the runs' unique key on alert_id. Rows are locked in id order, so that two callers never deadlock.
WITH following AS (
    SELECT run.id, run.alert_id
    FROM alerting_alert AS alert
    JOIN escalation_escalationrun AS run ON run.alert_id = alert.id
    WHERE alert.organization_id = %(organization)s AND alert.status IN ('open', 'assigned', 'on_hold')
      AND (run.policy_id = %(policy)s OR run.play_id = %(play)s) AND run.position -> 'stopped' IS NULL
    ORDER BY run.id
    FOR NO KEY UPDATE OF run
),
stopped AS (
    UPDATE escalation_escalationrun AS run
    SET next_step_at = NULL, parked = FALSE,
        -- A stopped escalation.engine.walk.Position: no cursor has a next stage, and all retries and repeats are used up.
        position = run.position || jsonb_build_object(
            'stopped', TRUE, 'retries', '[]'::jsonb, 'repeat', run.plan -> 'repeats',
            'cursors', (
                SELECT COALESCE(jsonb_agg(jsonb_build_array(cursor -> 0, NULL, FALSE) ORDER BY number), '[]')
                FROM jsonb_array_elements(run.position -> 'cursors') WITH ORDINALITY AS track (cursor, number)
            )
        )
    FROM following
    WHERE run.id = following.id
    RETURNING run.alert_id
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, actor_id, text)
    SELECT alert_id, %(now)s, 'escalation_ended', %(actor)s, %(text)s FROM stopped
)
SELECT alert_id FROM stopped
