-- Write a page for each run and each contact method over which somebody is told at its place in the walk.
-- Index: notification_once; a page that this very step wrote before is passed over.
INSERT INTO escalation_notification (
    id, organization_id, alert_id, run_id, kind, user_id, group_id, contact_method_id, channel, label, address,
    step, round, repeat, subject, text, status, attempts, created_at, next_attempt_at, provider_id, last_error
)
SELECT gen_random_uuid(), run.organization_id, run.alert_id, run.id, 'page', page.user_id, page.group_id,
    page.contact_method_id, page.channel, page.label, page.address, page.step, page.round, page.repeat, '', '', 'pending', 0, %(now)s, page.due_at, '', ''
FROM unnest(%(runs)s::bigint[], %(alerts)s::bigint[], %(organizations)s::bigint[], %(places)s::integer[])
    AS run (id, alert_id, organization_id, place)
JOIN json_to_recordset(%(pages)s::json) AS page (
    place integer, user_id bigint, group_id bigint, contact_method_id bigint, channel text, label text, address text,
    step integer, round integer, repeat integer, due_at timestamptz
) ON page.place = run.place
ORDER BY run.id
ON CONFLICT DO NOTHING
