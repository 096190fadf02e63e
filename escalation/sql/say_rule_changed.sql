-- Write in the timelines of alerts that follow this policy or play, and have a next step, that it was changed; the same text once.
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
    FROM alerting_timelineentry AS earlier
    WHERE earlier.alert_id = following.alert_id AND earlier.kind = 'rule_changed' AND earlier.text = following.text
)
