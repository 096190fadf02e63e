-- Put away what was not sent yet for these alerts, and write one notice to each address that was told, where the run says so.
-- Index: notification_once, by alert. Rows are locked in id order, so that two callers never deadlock.
WITH unsent AS (
    SELECT id
    FROM escalation_notification
    WHERE alert_id = ANY(%(ids)s::bigint[]) AND kind IN ('page', 'last_resort', 'assignment', 'reminder')
      AND status = 'pending'
    ORDER BY id
    FOR UPDATE
),
put_away AS (
    UPDATE escalation_notification AS notification
    SET status = 'superseded', next_attempt_at = NULL
    FROM unsent
    WHERE notification.id = unsent.id
),
told AS (
    SELECT DISTINCT ON (told.alert_id, told.contact_method_id) told.*
    FROM escalation_notification AS told
    JOIN escalation_escalationrun AS run ON run.alert_id = told.alert_id
    WHERE told.alert_id = ANY(%(ids)s::bigint[]) AND run.recovery_notice
      AND told.kind IN ('page', 'last_resort', 'assignment', 'reminder') AND told.status IN ('sending', 'accepted', 'delivered')
      AND told.contact_method_id IS NOT NULL
    ORDER BY told.alert_id, told.contact_method_id, told.created_at DESC
)
INSERT INTO escalation_notification (
    id, organization_id, alert_id, run_id, kind, user_id, group_id, contact_method_id, channel, label, address,
    step, round, urgency, subject, text, status, attempts, created_at, next_attempt_at, provider_id, last_error
)
SELECT gen_random_uuid(), organization_id, alert_id, run_id, 'recovery', user_id, group_id, contact_method_id,
    channel, label, address, 0, 0, %(urgency)s, '', '', 'pending', 0, %(now)s, %(now)s, '', ''
FROM told
ON CONFLICT DO NOTHING
