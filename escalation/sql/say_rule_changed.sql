-- Say in the timeline of each alert that is not over, and whose escalation goes on by this policy or play, that it was changed; once for the same words.
-- Index: alert_by_status, the runs' unique key on alert_id, timeline_by_alert.
INSERT INTO alerting_timelineentry (alert_id, at, kind, actor_id, text)
SELECT following.alert_id, %(now)s, 'rule_changed', %(actor)s, following.text
FROM (
    SELECT alert.id AS alert_id, format(%(text)s, run.version) AS text
    FROM alerting_alert AS alert
    JOIN escalation_escalationrun AS run ON run.alert_id = alert.id
    WHERE alert.organization_id = %(organization)s AND alert.status IN ('open', 'assigned', 'on_hold')
      AND (run.policy_id = %(policy)s OR run.play_id = %(play)s) AND run.next_step_at IS NOT NULL
) AS following
WHERE NOT EXISTS (
    SELECT
    FROM alerting_timelineentry AS said
    WHERE said.alert_id = following.alert_id AND said.kind = 'rule_changed' AND said.text = following.text
)
