-- Write a page for each run and each contact method of a person who has come on call for it; superseded ones are used again.
-- Index: the runs' and alerts' primary keys, notification_once. All pages for one contact method travel in one message.
INSERT INTO escalation_notification AS notification (
    id, organization_id, alert_id, run_id, kind, user_id, contact_method_id, channel, label, address,
    step, retry, repeat, urgency, priority_rank, in_time, subject, text, status, message_id, attempts, created_at, next_attempt_at, provider_id,
    last_error
)
SELECT gen_random_uuid(), alert.organization_id, alert.id, run.id, 'page', page.user_id, page.contact_method_id,
    page.channel, page.label, page.address,
    -- The page belongs to the last step: people who come on call have no page of it yet.
    run.step, 0, page.repeat,
    CASE
        WHEN page.due_at <= %(now)s AND NOT EXISTS (
            SELECT
            FROM escalation_notification AS notified
            WHERE notified.alert_id = run.alert_id AND notified.kind = 'page' AND notified.user_id IS NOT NULL
              AND notified.status IN ('accepted', 'delivered')
        ) THEN %(first)s
        ELSE %(further)s
    END,
    array_position(ARRAY['critical', 'high', 'medium', 'low', 'none'], alert.priority::text) - 1,
    page.in_time, '', page.text, 'pending', page.message_id, 0, %(now)s, page.due_at, '', ''
FROM unnest(%(runs)s::bigint[], %(users)s::bigint[]) AS newcomer (run_id, user_id)
JOIN escalation_escalationrun AS run ON run.id = newcomer.run_id
JOIN alerting_alert AS alert ON alert.id = run.alert_id
JOIN json_to_recordset(%(pages)s::json) AS page (
    user_id bigint, contact_method_id bigint, channel text, label text, address text, repeat integer, due_at timestamptz,
    in_time boolean, message_id uuid, text text
) ON page.user_id = newcomer.user_id
WHERE alert.status = 'open'
ORDER BY run.id, page.contact_method_id, page.repeat
ON CONFLICT (alert_id, kind, step, contact_method_id, retry, repeat) DO UPDATE
SET status = 'pending', next_attempt_at = EXCLUDED.next_attempt_at, message_id = EXCLUDED.message_id,
    urgency = EXCLUDED.urgency, in_time = EXCLUDED.in_time, text = EXCLUDED.text
WHERE notification.status = 'superseded'
