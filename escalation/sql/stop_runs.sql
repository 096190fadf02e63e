-- End every escalation by this policy or play whose alert is not over, with the line in the timeline; returns the alerts.
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
    SET next_step_at = NULL, resting = FALSE,
        -- As escalation.walk.Position keeps it: nothing comes any more, and no repeat either.
        position = run.position || jsonb_build_object(
            'stopped', TRUE, 'retries', '[]'::jsonb, 'lap', run.plan -> 'repeats',
            'places', (
                SELECT COALESCE(jsonb_agg(jsonb_build_array(place -> 0, NULL, FALSE) ORDER BY number), '[]')
                FROM jsonb_array_elements(run.position -> 'places') WITH ORDINALITY AS track (place, number)
            )
        )
    FROM following
    WHERE run.id = following.id
    RETURNING run.alert_id
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, actor_id, text)
    SELECT alert_id, %(now)s, 'walk_ended', %(actor)s, %(text)s FROM stopped
)
SELECT alert_id FROM stopped
